"""What the benchmarks share: the command line of aekit in a process of its own, with its time and its memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

_HERE = Path(__file__).parent
_PYTHAE = Path("runs/bench/pythae-venv")

ADAMW = ("--optimizer", "adamw", "--schedule", "one-cycle")  # the defaults before muon


def aekit(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command, and return what it printed."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=True, env=os.environ | environment)


def command(*arguments: object) -> list[str]:
    """Return the command line of aekit that runs with this Python."""
    return [sys.executable, "-m", "aekit", *map(str, arguments)]


def timed(*arguments: object) -> tuple[float, list[dict]]:
    """Return the seconds that a command took, and the objects that it printed with --json."""
    started = time.perf_counter()
    done = aekit(*arguments, "--json", "--quiet")
    return time.perf_counter() - started, [json.loads(line) for line in done.stdout.splitlines()]


def measured(*arguments: object) -> dict:
    """Return the seconds and the peak memory in bytes of a command, and the object that it printed last with --json."""
    started = time.perf_counter()
    line = command(*arguments, "--json", "--quiet")
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(line)}: failed")
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak_bytes": usage.ru_maxrss * 1024, "printed": json.loads(printed.splitlines()[-1])}


def pythae() -> str:
    """Return the Python of an environment with pythae, made on first use."""
    python = _PYTHAE / "bin" / "python"
    if not (_PYTHAE / "made").exists():
        venv.create(_PYTHAE, with_pip=True)
        packages = ["pythae", "torch", "torchvision", "-e", str(_HERE.parent)]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        (_PYTHAE / "made").touch()
    return str(python)


def printed(python: str, script: str, *arguments: object) -> list[dict]:
    """Return the objects that a script of benchmarks/rivals prints."""
    done = subprocess.run(
        [python, _HERE / "rivals" / script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        env=os.environ | {"GOMP_SPINCOUNT": "300"},
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
