"""A Ray cluster: how to connect to it, and what a cell takes of one of its nodes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aekit.errors import AekitError, count
from aekit.images.runs import Machine

try:
    import ray
except ImportError:  # it comes with aekit[ray]
    ray = None

ANSWER_SECONDS = 3.0  # for a connection to an address
CONNECT_SECONDS = 30.0  # for ray to join a cluster; left to itself it tries for two minutes and ends the process
ADDRESS = re.compile(r"auto|[^/]+:\d+")
DEVICES = ("auto", "cpu", "cuda")
# Joins the cluster and leaves it; prints on stdout why it cannot.
TRIAL = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
except Exception as error:
    print(" ".join(str(error).split()))
    sys.exit(1)
ray.shutdown()
"""
_START = "start a cluster with ray start --head, and join it with ray start --address HOST:PORT"


@dataclass(frozen=True)
class RayCluster:
    """Which cluster, and how many GPUs a cell takes.

    Attributes:
        address: ``auto`` for the cluster that this machine is part of, or HOST:PORT of its head.
        gpus: GPUs per cell, below 1 to share one; None is 1 where cells run on cuda.
    """

    address: str
    gpus: float | None = None


@dataclass(frozen=True)
class Needs:
    """What a cell takes of a node, and on which of its devices it runs."""

    threads: int
    gpus: float
    device: str

    def __str__(self) -> str:
        """Return it in words: ``1 CPU and 0.25 GPU``."""
        cpus = count(self.threads, "CPU")
        return cpus + (f" and {self.gpus:g} GPU{'s' if self.gpus > 1 else ''}" if self.gpus else "")

    def fit(self, node: dict[str, Any]) -> bool:
        """Return whether an idle node has as much."""
        resources = node["Resources"]
        return bool(resources.get("CPU", 0) >= self.threads and resources.get("GPU", 0) >= self.gpus)


@contextlib.contextmanager
def connection(address: str) -> Iterator[None]:
    """Connect to a cluster while the block runs, or raise an AekitError soon."""
    if ray is None:
        raise AekitError("--ray: needs the package ray; pip install 'aekit[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    where = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    if where.startswith("ray://"):
        raise AekitError(
            f"--ray {where}: a driver outside the cluster is not supported; start the sweep on one of its machines, "
            "with --ray auto"
        )
    if not ADDRESS.fullmatch(where):
        raise AekitError(f"--ray {where}: is not an address of a cluster; give auto or HOST:PORT")
    _check_reachable(where)
    before = signal.getsignal(signal.SIGTERM)
    # Ray prints on stdout what happens on other nodes, whatever its settings.
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            ray.init(address=where, log_to_driver=False, logging_level="CRITICAL")
            signal.signal(signal.SIGTERM, before)  # ray has installed a handler of its own
            yield
        finally:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Check in a separate process whether ray can join: where it cannot, it prints, waits minutes, and ends it."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise AekitError(f"--ray {address}: cannot be reached ({reason}); {_START}") from error
    words = [sys.executable, "-P", "-c", TRIAL, address]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=CONNECT_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise AekitError(f"--ray {address}: no Ray cluster answers there; {_START}") from error
    if done.returncode:
        said = done.stdout.strip().partition(". ")[0].rstrip(".") or f"ray ended with code {done.returncode}"
        raise AekitError(f"--ray {address}: cannot be joined ({said}); {_START}")


def read_nodes() -> list[dict[str, Any]]:
    """Return the nodes of the cluster that are alive, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]


def choose_needs(machine: Machine, gpus: float | None, nodes: Sequence[dict[str, Any]]) -> Needs:
    """Return what a cell takes of a node.

    Args:
        machine: Its device and threads; None is one thread.
        gpus: GPUs per cell; None is 1 on cuda, and with ``auto`` if a node has one.
        nodes: The nodes of the cluster.

    Raises:
        AekitError: No node has as much, or the options contradict each other.
    """
    _check_options(machine, gpus)
    if gpus is None:
        has_gpu = any(node["Resources"].get("GPU", 0) for node in nodes)
        gpus = 1.0 if machine.device == "cuda" or (machine.device == "auto" and has_gpu) else 0.0
    needs = Needs(machine.threads or 1, gpus, "cuda" if gpus else "cpu")
    if not any(map(needs.fit, nodes)):
        has_cpu = any(node["Resources"].get("CPU", 0) for node in nodes)
        advice = "reduce --threads or --gpus-per-cell" if has_cpu else "add one with ray start --address HOST:PORT"
        raise AekitError(f"--ray: no node of the cluster has {needs} for a cell; {advice}")
    return needs


def _check_options(machine: Machine, gpus: float | None) -> None:
    """Raise an AekitError if the options of a cell contradict each other."""
    if machine.device not in DEVICES:
        raise AekitError(f"--device {machine.device}: on Ray, cells get their GPU from it; give auto, cpu or cuda")
    if machine.threads is not None and machine.threads < 1:
        raise AekitError(f"--threads: {machine.threads} is below 1; give 1 or more")
    if machine.device == "cpu" and gpus:
        raise AekitError(f"--gpus-per-cell: {gpus:g} with --device cpu would be idle; leave one of them out")
    if machine.device == "cuda" and gpus == 0:
        raise AekitError("--gpus-per-cell: 0 with --device cuda leaves none; leave one of them out")
    if gpus is not None and (gpus < 0 or (gpus > 1 and gpus != int(gpus))):
        raise AekitError(
            f"--gpus-per-cell: {gpus:g} is neither a fraction of a GPU nor a number of GPUs; give 0.25 or 1"
        )
