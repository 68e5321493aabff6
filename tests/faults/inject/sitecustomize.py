"""Counts the points at which a program changes a disk, and kills it at one of them.

It is loaded by every Python whose ``PYTHONPATH`` has this folder, and does something where ``AEKIT_FAULTS`` names a
folder. There ``points`` gets a line for every point, of all processes of a run together: what is to be done, and to
which paths. The points are the creation of a file, a write, an fsync, a rename, a removal and a change of size, of
paths under one of the folders in ``AEKIT_FAULTS_UNDER``.

``AEKIT_FAULTS_KILL`` is the number of the point, from 1, at which SIGKILL comes instead of it, at a write after half of
it. ``AEKIT_FAULTS_WHOM`` says to whom: ``self``, or ``all`` processes of the run, as when a machine loses power.
"""

from __future__ import annotations

import builtins
import contextlib
import fcntl
import io
import os
import signal
import sys

_open, _close, _write, _fstat = os.open, os.close, os.write, os.fstat
_io_open = io.open
FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND


def processes_of(tag: str, sessions: tuple[int, ...] = ()) -> list[int]:
    """Return the processes, other than this one, that were started with AEKIT_FAULTS=tag or are of the sessions."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - what pathlib takes to load, every Python would
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        try:
            with _io_open(f"/proc/{name}/stat", "rb") as file:
                state, _, _, session = file.read().rpartition(b") ")[2].split()[:4]
            if state == b"Z":  # has ended, and whoever started it has not asked yet
                continue
            with _io_open(f"/proc/{name}/environ", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if int(session) in sessions or f"AEKIT_FAULTS={tag}".encode() in words:
            found.append(int(name))
    return found


def kill_all(tag: str, sessions: tuple[int, ...]) -> None:
    """Kill all processes of a run but this one."""
    for _ in range(20):  # one may start another meanwhile
        left = processes_of(tag, sessions)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            return


def _name(target: object) -> str:
    if isinstance(target, int):
        try:
            return os.readlink(f"/proc/self/fd/{target}").removesuffix(" (deleted)")  # noqa: PTH115
        except OSError:
            return ""
    return os.path.abspath(os.fsdecode(target))  # noqa: PTH100


class Faults:
    """The points of this process."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.under = tuple(os.environ["AEKIT_FAULTS_UNDER"].split(os.pathsep))
        self.kill_at = int(os.environ.get("AEKIT_FAULTS_KILL", "0"))
        self.whom = os.environ.get("AEKIT_FAULTS_WHOM", "self")

    def is_due(self, kind: str, *targets: object) -> bool:
        """Count a point if it is one; return whether it is the last one of this process."""
        names = [_name(target) for target in targets]
        if not any(name.startswith(self.under) for name in names):
            return False
        descriptor = _open(f"{self.folder}/points", FLAGS, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            n = os.pread(descriptor, _fstat(descriptor).st_size, 0).count(b"\n") + 1
            _write(descriptor, "\t".join([kind, *names]).encode() + b"\n")
        finally:
            _close(descriptor)
        return n == self.kill_at

    def kill(self) -> None:
        """End it all."""
        if self.whom == "all":
            sessions = tuple(int(word) for word in os.environ.get("AEKIT_FAULTS_SESSIONS", "").split())
            kill_all(self.folder, sessions or (os.getsid(0),))
        os.kill(os.getpid(), signal.SIGKILL)


def install() -> None:
    """Count the points of this process from now on, if AEKIT_FAULTS asks for it."""
    folder = os.environ.get("AEKIT_FAULTS")
    if not folder or "AEKIT_FAULTS_UNDER" not in os.environ:
        return
    faults = Faults(folder)

    def before(kind: str, function, n_targets: int = 1):
        def call(*arguments, **named):
            if faults.is_due(kind, *arguments[:n_targets]):
                faults.kill()
            return function(*arguments, **named)

        return call

    def halved(kind: str, function):
        def call(descriptor, content, *rest):
            if faults.is_due(kind, descriptor):
                function(descriptor, memoryview(content).cast("B")[: len(memoryview(content).cast("B")) // 2], *rest)
                faults.kill()
            return function(descriptor, content, *rest)

        return call

    def created(path, flags, *rest, **named):
        if flags & os.O_CREAT and faults.is_due("create", path):
            faults.kill()
        return _open(path, flags, *rest, **named)

    class Raw(io.FileIO):
        def write(self, content):
            if faults.is_due("write", self.fileno()):
                flat = memoryview(content).cast("B")
                super().write(flat[: len(flat) // 2])
                faults.kill()
            return super().write(content)

        def truncate(self, size=None):
            if faults.is_due("truncate", self.fileno()):
                faults.kill()
            return super().truncate(size)

    def opened(file, mode="r", buffering=-1, *rest, **named):
        is_ours = isinstance(file, int) or _name(file).startswith(faults.under)
        if "b" in mode and set(mode) & set("wax") and "+" not in mode and is_ours and buffering != 0:
            return io.BufferedWriter(Raw(file, mode.replace("b", ""), closefd=named.get("closefd", True)))
        return _io_open(file, mode, buffering, *rest, **named)

    os.open = created
    os.fsync = before("fsync", os.fsync)
    os.replace = before("rename", os.replace, 2)
    os.rename = before("rename", os.rename, 2)
    os.unlink = before("unlink", os.unlink)
    os.remove = before("unlink", os.remove)
    os.truncate = before("truncate", os.truncate)
    os.ftruncate = before("truncate", os.ftruncate)
    os.pwrite = halved("write", os.pwrite)
    os.fdopen = opened
    builtins.open = io.open = opened  # type: ignore[assignment]


if "aekit_faults_later" not in sys.argv:
    install()
