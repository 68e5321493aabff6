"""What the tests of reliability do to aekit: start it cheaply, kill it somewhere, and compare what it leaves."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from children import Start

FAULTS = Path(__file__).resolve().parents[1]
INJECT = FAULTS / "inject"
TIMES = {"seconds", "images_per_second"}  # columns that differ from run to run


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a child: this aekit, one thread, the points known."""
    source = str(FAULTS.parents[1] / "src")
    paths = [str(INJECT), source, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"} | more


@dataclass
class Ended:
    """How a command line ended.

    Attributes:
        codes: Exit codes, negative for a signal; one a process that was asked for.
        err: What the first said on stderr.
        out: And on stdout.
        seconds: How long they took.
        left: Command lines of processes that were still there some seconds later.
        points: Lines of kind and paths, separated by tabs.
    """

    codes: list[int]
    err: str
    out: str
    seconds: float
    left: list[str]
    points: list[list[str]]

    @property
    def code(self) -> int:
        """Return the exit code of the first."""
        return self.codes[0]


class Zygote:
    """A process that starts command lines by fork, one at a time."""

    def __init__(self, folder: Path, start: Start) -> None:
        self.folder = folder
        self.n = 0
        self._process = start(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
            cwd=folder,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def run(
        self,
        argv: Sequence[object],
        *,
        under: Sequence[Path] = (),
        kill_at: int = 0,
        kill_after: float | None = None,
        whom: str = "self",
        size: int = 1,
        env: dict[str, str] | None = None,
        out: str | None = None,
        signals: Sequence[tuple[str | float, int]] = (),
        patience: float = 15.0,
        timeout: float = 120.0,
    ) -> Ended:
        """Run a command line, in ``size`` processes as torchrun would start them, to its end or its death.

        Args:
            argv: What follows ``aekit``.
            under: Folders in which what is written is counted.
            kill_at: The point at which it is killed; 0 for none.
            kill_after: Seconds after which all of it is killed.
            whom: ``self`` or ``all``, at a point.
            size: Number of processes.
            env: More of the environment.
            out: Where stdout goes instead.
            signals: What is sent to the first process, and when: once a file is there, by a pattern of its path, or so
                many seconds after the one before.
            patience: Seconds that its processes have to end after it has.
            timeout: Seconds after which all is killed.
        """
        self.n += 1
        tag = self.folder / f"run{self.n}"
        tag.mkdir()
        common = {"AEKIT_FAULTS": str(tag), "AEKIT_FAULTS_KILL": str(kill_at), "AEKIT_FAULTS_WHOM": whom} | (env or {})
        if under:
            common["AEKIT_FAULTS_UNDER"] = os.pathsep.join(map(str, under))
        port = str(_free_port())
        requests = []
        for rank in range(size):
            own = dict(common)
            if size > 1:
                own |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
                own |= {"LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            streams = {name: str(tag / f"{name}{rank}") for name in ("out", "err")}
            streams |= {"out": out} if out else {}
            requests.append({"argv": [str(word) for word in argv], "env": own, "cwd": str(tag), **streams})
        question = {"all": requests, "tag": str(tag), "kill_after": kill_after}
        question["signals"] = [list(each) for each in signals]
        question |= {"patience": patience, "timeout": timeout}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        points = tag / "points"
        lines = points.read_text().splitlines() if points.exists() else []
        err, out = (tag / name for name in ("err0", "out0"))
        ended = Ended(
            answer["codes"],
            err.read_text() if err.exists() else "",
            out.read_text() if out.exists() else "",
            answer["seconds"],
            answer["left"],
            [line.split("\t") for line in lines],
        )
        shutil.rmtree(tag)
        return ended


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files under a folder by name, tables without their times, and without the name of the folder."""
    return {
        str(path.relative_to(folder)): _timeless(path).replace(str(folder).encode(), b"")
        for path in sorted(folder.rglob("*"))
        if path.is_file() or path.is_symlink()
    }


def _timeless(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix != ".csv":
        return content
    rows = list(csv.reader(io.StringIO(content.decode())))
    if not rows:
        return content
    kept = [number for number, name in enumerate(rows[0]) if name not in TIMES]
    return json.dumps([[row[number] for number in kept] for row in rows]).encode()


@dataclass(frozen=True)
class Experiment:
    """A command, and how it is gone on with.

    Attributes:
        argv: The command line, given the folder to write into.
        again: How it is gone on with; the next one is taken if one is refused.
        size: Number of processes.
        prepare: Fills the folder before the first run.
        whom: Whom a kill at a point hits, in turns: ``self`` or ``all`` processes.
        may_change: Beginnings of names of what is neither the old nor the new one in between, as a table of a grid.
        env: More of the environment.
    """

    argv: Callable[[Path], list[object]]
    again: Sequence[Callable[[Path], list[object]]]
    size: int = 1
    prepare: Callable[[Path], object] = lambda folder: None
    whom: tuple[str, ...] = ("self",)
    may_change: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)


@dataclass
class Tally:
    """What a series of kills came to."""

    kills: int = 0
    identical: int = 0
    left_behind: int = 0
    processes_left: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    slowest_seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


class Laboratory:
    """Kills an experiment at each of its points, and at random moments."""

    def __init__(self, zygote: Zygote, experiment: Experiment, folder: Path) -> None:
        self.zygote = zygote
        self.experiment = experiment
        self.folder = folder
        self.tally = Tally()
        whole = folder / "whole"
        ended = self._run(whole, experiment.argv, fresh=True)
        assert ended.codes == [0] * experiment.size, ended.err
        self.points = ended.points
        self.seconds = ended.seconds
        self.expected = contents(whole)

    def _run(self, folder: Path, argv: Callable[[Path], list[object]], *, fresh: bool = False, **how) -> Ended:
        if fresh:
            folder.mkdir()
            self.experiment.prepare(folder)
        return self.zygote.run(
            argv(folder),
            under=[folder],
            size=self.experiment.size,
            env={"AEKIT_CACHE": str(folder / "cache")} | self.experiment.env,
            **how,
        )

    def kill_at_points(self, numbers: Sequence[int]) -> None:
        """Kill at some of the points, counted from 1, and go on from there."""
        for count, number in enumerate(numbers):
            whom = self.experiment.whom[count % len(self.experiment.whom)]
            kind = self.points[number - 1][0]
            what = f"{whom} at point {number}, {' '.join(self.points[number - 1])}"
            self._kill(f"{number}-{whom}-{count}", kind, what, kill_at=number, whom=whom)

    def kill_at_times(self, seconds: Sequence[float]) -> None:
        """Kill after so many seconds, and go on from there."""
        for count, after in enumerate(seconds):
            self._kill(f"t{count}", "moment", f"all after {after:.3f} s", kill_after=after)

    def _kill(self, name: str, kind: str, what: str, **how) -> None:
        tally, folder = self.tally, self.folder / name
        ended = self._run(folder, self.experiment.argv, fresh=True, **how)
        if kind == "moment" and -9 not in ended.codes:
            shutil.rmtree(folder)
            return  # it was faster
        tally.kills += 1
        tally.by_kind[kind] = tally.by_kind.get(kind, 0) + 1
        self._check_whole(folder, what)
        if ended.left:
            tally.processes_left += 1
            tally.problems.append(f"{what}: processes left: {ended.left}")
        for again in self.experiment.again:
            ended = self._run(folder, again)
            if ended.code == 0:
                break
            if ended.code != 1 or ended.err.count("\n") != 1:
                tally.problems.append(f"{what}: was refused with {ended.codes}: {ended.err}")
        tally.slowest_seconds = max(tally.slowest_seconds, round(ended.seconds, 1))
        if ended.codes != [0] * self.experiment.size:
            tally.problems.append(f"{what}: going on ended with {ended.codes}: {ended.err}")
            return
        found = contents(folder)
        same = {key: found.get(key) == value for key, value in self.expected.items()}
        tally.identical += all(same.values())
        more = sorted(found.keys() - self.expected.keys())
        tally.left_behind += len(more)
        if more or not all(same.values()):
            wrong = [key for key, is_same in same.items() if not is_same]
            tally.problems.append(f"{what}: wrong or missing {wrong}, left behind {more}; {ended.err}")
        shutil.rmtree(folder)

    def _check_whole(self, folder: Path, what: str) -> None:
        """Look at what a kill left: every result is as it was, or as it will be; a history may be a beginning of it."""
        old = self.folder / "old"
        if not old.exists():
            old.mkdir()
            self.experiment.prepare(old)
        before = contents(old)
        for name, content in contents(folder).items():
            if name not in self.expected or name.startswith(self.experiment.may_change):
                continue
            is_history = name.endswith(".csv") and name.removesuffix(".csv") + ".safetensors" in self.expected
            if is_history and _is_beginning(content, self.expected[name]):
                continue
            if content not in (self.expected[name], before.get(name)):
                self.tally.problems.append(f"{what}: {name} is neither the old one nor the new one")


def kill_everywhere(
    experiment: Experiment, zygote: Zygote, folder: Path, *, points: float, moments: int, seed: int = 0
) -> Laboratory:
    """Return the laboratory after a share of the points and some random moments, checked.

    Args:
        experiment: What is killed.
        zygote: Starts it.
        folder: Where.
        points: Share of the points, in (0, 1], or their number if it is a whole one.
        moments: Number of moments.
        seed: Of the draw.
    """
    lab, random = Laboratory(zygote, experiment, folder), Random(seed)
    total = len(lab.points)
    n = min(total, round(points if isinstance(points, int) else points * total))
    lab.kill_at_points(sorted(random.sample(range(1, total + 1), n)))
    lab.kill_at_times([random.uniform(0, lab.seconds) for _ in range(moments)])
    assert not lab.tally.problems, "\n".join(lab.tally.problems)
    assert lab.tally.kills >= n
    assert lab.tally.identical == lab.tally.kills
    return lab


def _is_beginning(content: bytes, whole: bytes) -> bool:
    """Return whether a table, as :func:`contents` has it, is some first rows of another, and its header."""
    rows, all_rows = json.loads(content), json.loads(whole)
    return len(rows) > 1 and rows == all_rows[: len(rows)]


def fsync_faults(points: Sequence[Sequence[str]], names: Callable[[str], bool]) -> list[str]:
    """Return the renames onto paths that ``names`` accepts which a loss of power could undo or leave half done."""
    wrong = []
    for number, (kind, *paths) in enumerate(points):
        if kind != "rename" or not names(paths[1]):
            continue
        source, target = paths
        of_file = [step for step in points[:number] if step[1] == source]
        if not of_file or of_file[-1][0] != "fsync":
            wrong.append(f"{target}: was renamed before it was on the disk")
        if ["fsync", str(Path(target).parent)] not in [list(step) for step in points[number + 1 :]]:
            wrong.append(f"{target}: its name was not brought onto the disk")
    return wrong
