"""Starts command lines of aekit by fork, from a process that has loaded what they need: a tenth of a second each.

It reads one request a line from stdin, JSON, and answers each with one line on stdout: see :class:`fault_lab.Zygote`.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import importlib
import io
import json
import os
import signal
import sys
import tempfile
import time
import traceback

import sitecustomize


def _load() -> None:
    """Train once, which loads all there is and starts no threads."""
    import matplotlib as mpl

    mpl.use("agg")
    from typer.main import get_command

    import aekit.brains.runs  # noqa: F401
    from aekit.cli import app

    _ = get_command(app).commands  # imports them

    with tempfile.TemporaryDirectory() as folder:
        words = [
            "train-vae",
            "--data",
            "digits",
            "--limit",
            "20",
            "--epochs",
            "1",
            "--threads",
            "1",
            "--quiet",
            "--resume",
        ]
        with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(SystemExit):
            app([*words, "-o", f"{folder}/x.safetensors"])


def _start(request: dict) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it does not outlive this process
        for number, path in enumerate((os.devnull, request["out"], request["err"])):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            opened = os.open(path, flags, 0o600)
            os.dup2(opened, number)
            os.close(opened)
        os.chdir(request["cwd"])
        os.environ.update(request["env"])
        sys.stdin, sys.stdout, sys.stderr = (open(n, "w" if n else "r", closefd=False) for n in range(3))  # noqa: SIM115
        if os.environ.get("AEKIT_FAULTS_UNBUFFERED"):
            sys.stdout = io.TextIOWrapper(open(1, "wb", 0, closefd=False), write_through=True)  # noqa: SIM115
        sys.argv = ["aekit", *request["argv"]]
        for setting in filter(None, os.environ.get("AEKIT_FAULTS_SETTINGS", "").split()):
            name, _, value = setting.partition("=")
            module, _, attribute = name.rpartition(".")
            setattr(importlib.import_module(module), attribute, float(value))
        sitecustomize.install()
        from aekit.cli import main

        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        os._exit(code)


def _signal(signals: list, pid: int, now: float) -> None:
    """Send the next signal if it is due: a file is there, or so many seconds have gone since the last one."""
    if not signals:
        return
    when, number = signals[0]
    if isinstance(when, str):
        if not glob.glob(when, include_hidden=True):  # noqa: PTH207
            return
    elif now < when:
        return
    signals.pop(0)
    with contextlib.suppress(ProcessLookupError):
        # A terminal's Ctrl-C goes to the whole group of processes, a scheduler's signals to one.
        (os.killpg if number == signal.SIGINT else os.kill)(pid, number)
    if signals and not isinstance(signals[0][0], str):
        signals[0][0] += now


def main() -> None:
    """Serve until stdin ends."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _load()
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        requests = json.loads(line)
        started = time.monotonic()
        pids = {_start(request): number for number, request in enumerate(requests["all"])}
        sessions, codes = tuple(pids), [None] * len(pids)
        kill_at = started + requests["kill_after"] if requests["kill_after"] is not None else None
        deadline = started + requests["timeout"]
        while pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid in pids:
                codes[pids.pop(pid)] = os.waitstatus_to_exitcode(status)
                continue
            now = time.monotonic()
            _signal(requests["signals"], sessions[0], now)
            if now > deadline or (kill_at is not None and now > kill_at):
                sitecustomize.kill_all(requests["tag"], sessions)
                kill_at = None
                deadline = now + 1e9
            time.sleep(0.002)
        seconds = time.monotonic() - started
        # What has no parent left must see that by itself.
        patience = time.monotonic() + requests["patience"]
        while (left := sitecustomize.processes_of(requests["tag"], sessions)) and time.monotonic() < patience:
            time.sleep(0.01)
        lasted = time.monotonic() - started - seconds
        names = []
        for pid in left:
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123
                    names.append(file.read().replace(b"\0", b" ").decode(errors="replace")[:200])
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        print(json.dumps({"codes": codes, "seconds": seconds, "left": names, "lasted": lasted}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
