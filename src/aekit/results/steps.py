"""The steps of a recipe - a command for a seed - and the record of those that have run, by which they are resumed."""

from __future__ import annotations

import contextlib
import csv
import functools
import glob
import hashlib
import io
import json
import math
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, get_args

from aekit import __version__
from aekit.core.artifacts import write_atomically
from aekit.core.checkpoint import resume_path
from aekit.core.child import run_aekit
from aekit.core.progress import Labelled, Progress
from aekit.errors import AekitError, Stopped, count
from aekit.results import recipe
from aekit.results.recipe_values import fill

RECORD = "steps.csv"
_COLUMNS = ("command", "seed", "state", "seconds", "aekit", "line", "paths", "key")
State = Literal["started", "finished"]


class CommandLines(Protocol):
    """What is known of the commands of aekit: ``aekit.terminal.command_lines`` has it."""

    def check(self, words: Sequence[str], place: str) -> None:
        """Raise an AekitError, which begins with ``place``, if words are not a command with options that it has."""

    def knows(self, command: str, option: str) -> bool:
        """Return whether a command has an option."""


@dataclass(frozen=True)
class Step:
    """A command, for a seed if it depends on one.

    Attributes:
        number: Number of the command in the recipe, from 1.
        seed: The seed; None for a command that runs once.
        template: Its words without ``aekit``; folders and patterns of names are still as the recipe has them.
        options: Further words, of the machine: with others the result is the same but for its last digits.
        key: What the command and those before it are, in few characters: it differs if one of them does.
    """

    number: int
    seed: int | None
    template: tuple[str, ...]
    options: tuple[str, ...]
    key: str

    @property
    def line(self) -> str:
        """The command as text, with the placeholders of folders."""
        words = (*self.template, *self.options)
        return " ".join(["aekit", *(shlex.quote(word) if set(word) & set(" \"'$`\\") else word for word in words)])

    @property
    def label(self) -> str:
        """Which one it is, in words."""
        return f"command {self.number}" + ("" if self.seed is None else f", seed {self.seed}")


@dataclass(frozen=True)
class Row:
    """What the record says of a step.

    Attributes:
        step: The step as it was run.
        line: Its command as text.
        state: Whether it has ended well.
        seconds: How long it has run, all attempts together.
        version: The version of aekit.
        paths: What it printed, relative to the folder of the recipe.
    """

    number: int
    seed: int | None
    state: State
    seconds: float
    version: str
    line: str
    paths: tuple[str, ...]
    key: str


def plan_steps(protocol: recipe.Protocol, seeds: Sequence[int], options: Mapping[int, Sequence[str]]) -> list[Step]:
    """Return the steps of a protocol in the order in which they run: command by command, each for all of its seeds.

    Args:
        protocol: Its commands.
        seeds: The seeds of the commands that depend on one.
        options: Further words of each command, by its number from 1.
    """
    steps: list[Step] = []
    for number, words in enumerate(protocol.commands, start=1):
        for seed in seeds if any("{seed}" in word for word in words) else (None,):
            names = {"seeds": ",".join(map(str, seeds))} | ({} if seed is None else {"seed": str(seed)})
            template = tuple(fill(word, names) for word in words)
            # What came before, of the same seed or of all: a step may read the files of any of them.
            before = [step.key for step in steps if seed is None or step.seed in (seed, None)]
            text = json.dumps([template, before])
            key = hashlib.sha256(text.encode()).hexdigest()[:16]
            steps.append(Step(number, seed, template, tuple(options.get(number, ())), key))
    return steps


class StepRecord:
    """Which steps of a recipe have run: a table on disk, whole at any time.

    Args:
        folder: Folder of the recipe.
        progress: Told of a damaged record.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.path = folder / RECORD
        self.rows: dict[tuple[int, int | None], Row] = {}
        try:
            text = self.path.read_text(encoding="utf-8")
            self.rows = {(row.number, row.seed): row for row in map(_read_row, csv.DictReader(io.StringIO(text)))}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
            progress.notice(
                f"{self.path}: is damaged ({error}), and is begun anew; all commands run again, and leave finished "
                "trainings as they are"
            )

    def put(self, row: Row) -> None:
        """Add or replace the row of a step, and write the record."""
        self.rows[row.number, row.seed] = row
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for each in sorted(self.rows.values(), key=lambda row: (row.number, -1 if row.seed is None else row.seed)):
            seed = "" if each.seed is None else each.seed
            paths = json.dumps(each.paths)
            writer.writerow(
                [each.number, seed, each.state, f"{each.seconds:.9g}", each.version, each.line, paths, each.key]
            )
        write_atomically(self.path, lambda file: file.write(text.getvalue().encode()))


def _read_row(cells: Mapping[str, str]) -> Row:
    if tuple(cells) != _COLUMNS or None in cells.values():
        raise ValueError("it does not have its columns")
    paths, seconds = json.loads(cells["paths"]), float(cells["seconds"])
    if cells["state"] not in get_args(State) or not isinstance(paths, list) or not 0 <= seconds < math.inf:
        raise ValueError("a row has an impossible value")
    return Row(
        number=int(cells["command"]),
        seed=int(cells["seed"]) if cells["seed"] else None,
        state=cells["state"],  # type: ignore[arg-type]
        seconds=seconds,
        version=cells["aekit"],
        line=cells["line"],
        paths=tuple(map(str, paths)),
        key=cells["key"],
    )


@dataclass(frozen=True)
class Workplace:
    """Where the steps of a recipe run.

    Attributes:
        folder: Its folder, ``{out}``.
        data_root: Folder of the known data sets, ``{data_root}``.
        environment: Variables that its commands have besides those of this process.
        commands: What is known of the commands.
        progress: Told of steps, and of what they say.
    """

    folder: Path
    data_root: Path
    environment: Mapping[str, str]
    commands: CommandLines
    progress: Progress

    @property
    def names(self) -> dict[str, str]:
        """What the placeholders of folders stand for."""
        return {"out": str(self.folder), "data_root": str(self.data_root)}

    def words(self, step: Step) -> list[str]:
        """Return the words of a step as they are run, with ``--resume`` where the command has it.

        Raises:
            AekitError: No file has a name of some pattern.
        """
        words: list[str] = []
        for word in step.template:
            own = fill(word, self.names)
            if "*" not in word:
                words.append(own)
                continue
            found = sorted(glob.glob(fill(word, {name: glob.escape(text) for name, text in self.names.items()})))  # noqa: PTH207 - of text
            if not found:
                raise AekitError(f"{own}: no file has such a name; correct the recipe")
            words += found
        return [*words, *step.options] + (["--resume"] if self.commands.knows(words[0], "--resume") else [])

    def as_written(self, step: Step) -> list[str]:
        """Return the words of a step, with patterns of names as they are: there may be no such file yet."""
        return [fill(word, self.names) for word in step.template] + list(step.options)

    def is_inside(self, path: Path) -> bool:
        """Return whether a path is in the folder, and not the folder itself."""
        return self.folder.resolve() in path.resolve().parents


def run_steps(steps: Sequence[Step], place: Workplace) -> float:
    """Run the steps that have not ended well before, and return the seconds that all of them took.

    Raises:
        AekitError: One failed.
        Stopped: A signal came; the same call goes on from there.
    """
    record = StepRecord(place.folder, place.progress)
    done = [step for step in steps if _is_done(record.rows.get((step.number, step.seed)), step, place)]
    if done:
        place.progress.notice(f"{len(done)} of {count(len(steps), 'command')} had finished before")
        if old := {record.rows[step.number, step.seed].version for step in done} - {__version__}:
            place.progress.notice(f"{', '.join(sorted(old))} is the version of aekit that ran some of them")
    for number, step in enumerate(steps, start=1):
        detail = f"command {number} of {len(steps)}"
        place.progress.update(
            f"aekit {step.template[0]}",
            number - 1,
            len(steps),
            lane=str(place.folder),
            detail=functools.partial(str, detail),
        )
        if step not in done:
            place.progress.notice(f"{number} of {len(steps)}: {step.line}{_for(step)}")
            _run_step(step, record, place)
    place.progress.update("done", len(steps), len(steps), lane=str(place.folder))
    return sum(record.rows[step.number, step.seed].seconds for step in steps)


def _for(step: Step) -> str:
    return "" if step.seed is None else f" (seed {step.seed})"


def _is_done(row: Row | None, step: Step, place: Workplace) -> bool:
    """Return whether a step has ended well, and what it wrote is still there."""
    if row is None or row.key != step.key or row.state != "finished":
        return False
    if missing := [path for path in row.paths if not (place.folder / path).exists()]:
        place.progress.notice(f"{place.folder / missing[0]}: is not there any more; {step.label} runs again")
        return False
    return True


def _run_step(step: Step, record: StepRecord, place: Workplace) -> None:
    words = place.words(step)
    before = record.rows.get((step.number, step.seed))
    if before is not None and before.key != step.key:
        place.progress.notice(f"{step.label} has changed, or one before it; its results are made again")
        _discard(words, before, place)
    spent = before.seconds if before is not None and before.key == step.key else 0.0
    old = before.paths if before is not None else ()
    row = Row(step.number, step.seed, "started", spent, __version__, step.line, old, step.key)
    record.put(row)
    started = time.monotonic()
    say = place.progress if step.seed is None else Labelled(place.progress, f"seed {step.seed}")
    ended = run_aekit(words, place.environment, say.notice)
    seconds = spent + time.monotonic() - started
    if ended.code == 0:
        paths = _relative(ended.stdout, place)
        record.put(replace(row, state="finished", seconds=seconds, paths=paths))
        _remove_stale(old, paths, place)
    else:
        record.put(replace(row, seconds=seconds))
    if ended.signal_number is not None:
        raise Stopped(f"{place.folder}: stopped at {step.label}; the same command continues it", ended.signal_number)
    if ended.code != 0:
        message = ended.message.removeprefix("aekit: ") or f"it ended with code {ended.code}"
        if ended.code < 0:
            message = f"it was killed by signal {-ended.code}; the same command continues it"
        raise AekitError(f"{step.label} failed, {step.line}: {message}")


def _relative(lines: Sequence[str], place: Workplace) -> tuple[str, ...]:
    """Return what a command printed, as paths relative to the folder; lines that are not paths in it are left out."""
    found = []
    for line in lines:
        with contextlib.suppress(OSError, ValueError):
            path = Path(line)
            if path.exists() and place.is_inside(path):
                found.append(str(path.resolve().relative_to(place.folder.resolve())))
    return tuple(found)


def _discard(words: Sequence[str], before: Row, place: Workplace) -> None:
    """Remove the results of a changed command of which ``--resume`` would say that they belong to other options."""
    if "--resume" not in words:
        return  # it replaces its results, or, as a sweep, sees which of them are its own
    paths = [place.folder / name for name in before.paths]
    files = [Path(output) for output in recipe.outputs(words) if Path(output).suffix]
    paths += [each for path in files for each in (path, resume_path(path))]
    for path in filter(place.is_inside, paths):
        _remove(path)


def _remove_stale(old: Sequence[str], new: Sequence[str], place: Workplace) -> None:
    """Remove what a command printed before it was changed and does not print any more: a pattern would find it."""
    for name in sorted({*old} - {*new}):
        if place.is_inside(place.folder / name):
            _remove(place.folder / name)


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise AekitError(f"{path}: cannot be removed ({error.strerror}); choose another --output") from error
