"""Does aekit give the published values? Recipes are run and judged: the body of ``aekit reproduce``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aekit.core.artifacts import check_writable
from aekit.core.durable import one_writer
from aekit.core.environment import default_data_root
from aekit.core.output import Result
from aekit.core.process import keeps_settings
from aekit.core.progress import SILENT, Labelled, Progress
from aekit.errors import AekitError, UsageError, count, nearest
from aekit.images.sweep.cells import integers
from aekit.results.recipe import RECIPES, SUFFIX, Protocol, Recipe, Value, check_seeds, read_recipe, shipped_recipes
from aekit.results.recipe_table import rows_for_json, show_verdicts, write_verdicts
from aekit.results.recipe_values import Judged, failed, judge, read_value
from aekit.results.steps import RECORD, CommandLines, Step, Workplace, plan_steps, run_steps

ALL = "all"
FOLDER = Path("runs") / "reproduce"
QUICK = ".quick"  # behind the name of a recipe: results of its quick protocol


@dataclass(frozen=True)
class _Job:
    """A recipe that is about to run."""

    recipe: Recipe
    name: str
    protocol: Protocol
    seeds: tuple[int, ...]
    steps: list[Step]
    place: Workplace


@keeps_settings
def run_reproduce(
    names: Sequence[str],
    commands: CommandLines,
    output: Path | None = None,
    *,
    quick: bool = False,
    seeds: str | None = None,
    data_root: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Iterator[Result]:
    """Yield the table of each recipe, with what its commands gave next to the published values.

    Commands that have run before are not run again, unless they or one before them have changed.

    Args:
        names: Names of recipes, paths of others (``.toml``), or ``all``.
        commands: What is known of the commands of aekit.
        output: The folder; None is ``runs/reproduce``. Each recipe has ``<name>.csv``, ``<name>.md`` and a folder.
        quick: Run the reduced protocols, whose names end in ``.quick``.
        seeds: Seeds instead of those of the recipes: ``0,1,2`` or ``0-4``; None leaves them.
        data_root: Folder of the known data sets; None is the default.
        device: Device of the commands that have ``--device``; ``auto`` leaves it to them.
        threads: CPU threads of the commands that have ``--threads``; None leaves it to them.
        progress: Told of every command, of what it says, and of the verdicts.

    Raises:
        UsageError: There is no such recipe, or seeds cannot be read.
        AekitError: A recipe cannot be read, or, at the end, a value was missed or a command failed.
        Stopped: A signal came; the same call goes on from there.
    """
    folder = output or FOLDER
    recipes = [read_recipe(path) for path in _find(names)]
    own_seeds = None if seeds is None else _parse_seeds(seeds)
    extra = {"--device": None if device == "auto" else device, "--threads": None if threads is None else str(threads)}
    environment = {} if data_root is None else {"AEKIT_DATA": str(data_root)}
    root = data_root or default_data_root()
    jobs = []
    for recipe in recipes:
        name = f"{recipe.name}{QUICK if quick else ''}"
        place = Workplace(folder / name, root, environment, commands, Labelled(progress, name))
        jobs.append(_plan(recipe, place, own_seeds, extra, quick=quick))
    problems: list[str] = []
    for job in jobs:
        judged, seconds = _run(job, problems)
        table = folder / f"{job.name}.csv"
        write_verdicts(table, job.recipe, job.protocol, job.seeds, judged, seconds)
        show_verdicts(job.name, job.protocol, judged, progress)
        yield Result(table, {"recipe": job.recipe.name, "quick": quick, "values": rows_for_json(job.protocol, judged)})
        problems += [_miss(table, each, job.protocol) for each in judged if each.verdict == "missed"]
    _finish(problems, progress)


def list_recipes(names: Sequence[str], progress: Progress = SILENT) -> Iterator[Result]:
    """Yield the file of each recipe, after a table of what they are.

    Args:
        names: Names or paths of recipes; none is all that aekit has.
        progress: Receives the table.

    Raises:
        UsageError: There is no such recipe.
        AekitError: One cannot be read.
    """
    recipes = [read_recipe(path) for path in _find(names or [ALL])]
    columns = ["recipe", "what", "data", "minutes", "quick data", "quick minutes"]
    rows = []
    for each in recipes:
        quick = (", ".join(each.quick.data), f"{each.quick.minutes:g}") if each.quick else ("", "")
        rows.append((each.name, each.title, ", ".join(each.full.data), f"{each.full.minutes:g}", *quick))
    progress.table("recipes, minutes on two cores", columns, rows)
    for each in recipes:
        quick_minutes = each.quick.minutes if each.quick else None
        values = {"recipe": each.name, "title": each.title, "data": each.full.data, "minutes": each.full.minutes}
        yield Result(each.path, {**values, "quick_minutes": quick_minutes, "seeds": each.full.seeds})


def _find(names: Sequence[str]) -> list[Path]:
    """Return the files of recipes, each once."""
    known = shipped_recipes()
    if not names:
        raise UsageError(f"NAME: give a recipe, or {ALL}; there are {', '.join(known)}, and --list describes them")
    found: dict[str, Path] = {}
    for name in names:
        for path in known.values() if name == ALL else [known.get(name) or _own(name, known)]:
            own = path.name.removesuffix(SUFFIX)
            if found.setdefault(own, path) != path:
                raise AekitError(f"{path}: another recipe is called {own}, too; rename one of the files")
    return list(found.values())


def _own(name: str, known: Mapping[str, Path]) -> Path:
    """Return the file of a user's own recipe."""
    path = Path(name)
    if path.suffix != SUFFIX:
        advice = f"choose one of {', '.join([*known, ALL])}, or give the path of a recipe ({SUFFIX})"
        raise UsageError(f"{name}: is not a recipe{nearest(name, [*known, ALL], advice)}")
    own = path.name.removesuffix(SUFFIX)
    if own in known and path.resolve().parent != RECIPES:
        raise AekitError(f"{path}: has the name of a recipe of aekit, whose results it would replace; rename the file")
    return path


def _parse_seeds(text: str) -> tuple[int, ...]:
    try:
        return check_seeds(integers("seeds", [item.strip() for item in text.split(",")]), "--seeds", "give 0,1,2")
    except AekitError as error:
        raise UsageError(str(error)) from error


def _plan(
    recipe: Recipe, place: Workplace, seeds: tuple[int, ...] | None, extra: Mapping[str, str | None], *, quick: bool
) -> _Job:
    """Return what a recipe will run, after every command line was checked."""
    protocol = recipe.quick if quick else recipe.full
    if protocol is None:
        raise AekitError(f"{recipe.path}: has no [quick] protocol; run it without --quick")
    if seeds is not None and not protocol.has_seeds:
        place.progress.notice("none of its commands depends on a seed; --seeds does not apply")
        seeds = None
    options = {
        number: [
            word
            for option, value in extra.items()
            if value is not None and place.commands.knows(words[0], option)
            for word in (option, value)
        ]
        for number, words in enumerate(protocol.commands, start=1)
    }
    own = protocol.seeds if seeds is None else seeds
    steps = plan_steps(protocol, own, options)
    for step in steps:
        place.commands.check(place.as_written(step), f"{recipe.path}: command {step.number}")
    return _Job(recipe, place.folder.name, protocol, own, steps, place)


def _run(job: _Job, problems: list[str]) -> tuple[list[Judged], float | None]:
    """Return the verdicts on the values of a recipe, and the seconds of its commands; add what failed to problems."""
    values = job.protocol.values
    check_writable(job.place.folder / RECORD)
    with one_writer(job.place.folder / RECORD):
        try:
            seconds = run_steps(job.steps, job.place)
        except AekitError as error:
            problems.append(f"{job.name}: {error}")
            job.place.progress.notice(str(error))
            return [failed(value, str(error)) for value in values], None
    judged = [_judge(value, job) for value in values]
    problems += [f"{job.name}: {each.problem}" for each in judged if each.problem]
    return judged, seconds


def _judge(value: Value, job: _Job) -> Judged:
    names = job.place.names | {"seeds": ",".join(map(str, job.seeds))}
    try:
        return judge(
            value,
            [
                read_value(value, names | {"seed": str(seed)})
                for seed in (job.seeds if value.per_seed else job.seeds[:1])
            ],
        )
    except AekitError as error:
        job.place.progress.notice(str(error))
        return failed(value, str(error))


def _miss(table: Path, judged: Judged, protocol: Protocol) -> str:
    numbers = f"ours is {judged.mean.value:.6g}, {protocol.reference} {judged.value.reference:.6g}"
    return f"{table}: {judged.value.name} is missed; {numbers}, tolerance {judged.value.tolerance:g}"


def _finish(problems: Sequence[str], progress: Progress) -> None:
    """Raise an AekitError if something went wrong, which names the first; the others are said."""
    for problem in problems[1:]:
        progress.notice(problem)
    if problems:
        more = f" (and {count(len(problems) - 1, 'other problem')}, said above)" if len(problems) > 1 else ""
        raise AekitError(f"{problems[0]}{more}")
