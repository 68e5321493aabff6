"""Programs that a test starts end with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from children import children

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc")

# Its own child has another session, as the processes of --gpus.
PARENT = (
    "import subprocess, sys; "
    "child = subprocess.Popen(['sleep', '600'], start_new_session=True); print(child.pid, flush=True); child.wait()"
)
# As pytest runs a test: with a program that does not end.
TEST = f"""
import subprocess, sys, time
from children import children
with children() as start:
    process = start([sys.executable, "-S", "-c", {PARENT!r}], stdout=subprocess.PIPE, text=True)
    print(process.pid, process.stdout.readline(), flush=True)
    time.sleep(600)
"""


def _is_alive(pid: int) -> bool:
    try:
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def _ended(pids: list[int]) -> bool:
    deadline = time.monotonic() + 10
    while any(map(_is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(_is_alive, pids))


def test_a_program_and_what_it_started_end_with_a_test_that_fails():
    pids = []

    def test():
        with children() as start:
            process = start([sys.executable, "-S", "-c", PARENT], stdout=subprocess.PIPE, text=True)
            pids.extend([process.pid, int(process.stdout.readline())])
            assert all(map(_is_alive, pids))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        test()
    assert _ended(pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_program_ends_with_tests_that_are_interrupted_or_killed(start, number):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "tools")}
    tests = start(
        [sys.executable, "-c", TEST], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    program, child = map(int, (tests.stdout.readline() + tests.stdout.readline()).split())
    assert all(map(_is_alive, [program, child]))
    tests.send_signal(number)
    tests.wait(10)
    if number == signal.SIGKILL:  # a process of --gpus sees by itself that its launcher is gone
        assert _ended([program])
        os.kill(child, signal.SIGKILL)
    assert _ended([program, child])
