"""The page of ``aekit report``: a summary, the runs compared, and a section per folder of results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from aekit.core.checkpoint import Header
from aekit.errors import count
from aekit.images.run_settings import MINIMISED
from aekit.plotting.html import (
    Block,
    Bullets,
    Code,
    Details,
    Fact,
    Facts,
    Paragraph,
    Picture,
    Row,
    Section,
    Subsection,
    Table,
)
from aekit.results.files import PngFile, Results, TableFile, group_files, is_number
from aekit.results.runs import IMAGES, describe, details, flatten, is_brain, options_of, overview
from aekit.results.studies import studies_section

MAX_JSON_CHARACTERS = 20_000
N_NAMED = 20
_MOST_IMPORTANT = {".metrics": 0, ".evaluate": 1, ".differences": 2}
# Commands whose figures show images, whose pixels must stay sharp.
_MOSAICS = ("reconstruct", "sample", "interpolate")


def build_sections(results: Results, *, title: str, max_rows: int, max_mb: float) -> list[Section]:
    """Return the sections: a summary, the runs compared, what studies found, and the files of each folder.

    Args:
        results: What was found.
        title: Heading of the files in the folder itself.
        max_rows: Rows to show per table.
        max_mb: Megabytes of figures that were read, for the note on those left out.
    """
    names = [*results.figures, *results.tables, *results.values, *results.runs]
    folders: dict[str, list[str]] = {}
    for name in names:
        folders.setdefault(name.rpartition("/")[0], []).append(name)
    groups = {
        head: files
        for folder in sorted(folders)
        for head, files in group_files(folders[folder], [n for n in folders[folder] if n in results.runs]).items()
    }
    # An underscore is in no anchor that is made of a heading.
    anchors = {head: f"_{number}" for number, head in enumerate(groups, start=1)}
    sections = [_summary(results, max_mb)]
    if results.runs:
        sections.append(_runs(results.runs, {name: anchors[_head(name)] for name in results.runs}))
    if (studies := studies_section(results.tables)) is not None:
        sections.append(studies)
    for folder in sorted(folders):
        own = [head for head in groups if head.rpartition("/")[0] == folder]
        parts = [_group(head, groups[head], results, anchor=anchors[head], max_rows=max_rows) for head in own]
        sections.append(Section(folder or title, parts))
    return sections


def _head(name: str) -> str:
    return name.removesuffix(PurePosixPath(name).suffix)


# --- the summary ---


def _summary(results: Results, max_mb: float) -> Section:
    counts = {
        "Runs": len(results.runs),
        "Unfinished runs": len(results.unfinished),
        "Figures": len(results.figures),
        "Tables": len(results.tables) + len(results.values),
        "Files that cannot be read": len(results.unreadable),
    }
    always = ("Runs", "Figures", "Tables")
    facts = Facts([Fact(label, f"{n:,}") for label, n in counts.items() if n or label in always])
    warnings = [_unfinished(name, header) for name, header in results.unfinished.items()]
    warnings += _cut([f"{name}: {reason}" for name, reason in results.unreadable.items()], "cannot be read")
    if results.left_out:
        first = ", ".join(results.left_out[:N_NAMED]) + (", ..." if len(results.left_out) > N_NAMED else "")
        warnings.append(
            f"{len(results.left_out):,} of {len(results.figures):,} figures are left out, as all together take more "
            f"than {max_mb:g} MB (--max-mb): {first}"
        )
    blocks: list[Block] = [facts]
    if warnings:
        blocks.append(Bullets(warnings, are_warnings=True))
    notes = []
    if results.pages:
        notes.append("Other HTML pages in these folders: " + ", ".join(results.pages[:N_NAMED]) + ".")
    if results.others:
        listed = ", ".join(f"{n:,} {suffix}" for suffix, n in sorted(results.others.items()))
        notes.append(f"Other files, not shown: {listed}.")
    return Section("Summary", [*blocks, *([Bullets(notes)] if notes else [])])


def _cut(lines: list[str], what: str) -> list[str]:
    return lines if len(lines) <= N_NAMED else [*lines[:N_NAMED], f"{count(len(lines) - N_NAMED, 'more file')} {what}"]


def _unfinished(name: str, header: Header) -> str:
    state = header.state
    done = state.get("epoch", "?") if isinstance(state, dict) else "?"
    what = "stages" if is_brain(header) else f"of {header.train.get('epochs', '?')} epochs"
    return f"{name}: unfinished ({describe(header)}), {done} {what} done; rerun its command with --resume"


# --- runs ---


def _runs(runs: Mapping[str, Header], anchors: Mapping[str, str]) -> Section:
    kinds = {"Autoencoders": False, "Brain age models": True}
    blocks: list[Block] = []
    for kind, brain in kinds.items():
        own = {name: header for name, header in runs.items() if is_brain(header) == brain}
        if own:
            blocks.append(Paragraph(_how_to_read(own, brain=brain)))
            blocks += overview(own, anchors, caption=kind)
    return Section("Runs", blocks)


def _how_to_read(runs: Mapping[str, Header], *, brain: bool) -> str:
    if brain:
        return (
            "Mean absolute errors (MAE) on held-out participants, ages in years; lower is better. Age is predicted "
            "from the image through tissue volumes, from the image directly, or from the true volumes; the mean age of "
            "the training participants is the baseline."
        )
    losses = {str(header.model.get("loss")) for header in runs.values()}
    with_beta = [own for own in map(options_of, runs.values()) if "beta" in own]
    # Headers leave out what is at its default.
    differing = [name for name in MINIMISED if len({str(own.get(name)) for own in with_beta}) > 1]
    text = "Means per image with the weights that were kept, KL and likelihoods in nats; lower is better."
    if len(losses) > 1:
        text += " Likelihoods under different losses are not comparable."
    elif differing:
        text += f" Totals with different {' or '.join(differing).replace('_', ' ')} are not comparable."
    if len({options_of(header).get(IMAGES) for header in runs.values()}) > 1:
        text += " Results on different test images are not comparable."
    return text


# --- files ---


def _group(head: str, names: Sequence[str], results: Results, *, anchor: str, max_rows: int) -> Subsection:
    """Return what belongs together: the options of a run, then the figures, each next to the tables of its name.

    What a run reached comes first, its history and learning curves last.
    """
    blocks: list[Block] = []
    if (run := f"{head}.safetensors") in results.runs:
        blocks += [Paragraph(describe(results.runs[run])), details(run, results.runs[run])]
    stems: dict[str, list[list[Block]]] = {}
    for name in names:
        columns = stems.setdefault(_head(name), [[], []])
        if name in results.figures:
            columns[0] += _figure(name, results.figures[name])
        elif name in results.tables:
            columns[1].append(_table(name, results.tables[name]))
        elif name in results.values:
            columns[1] += _values(name, results.values[name], max_rows)
    if run in results.runs:
        stems = dict(sorted(stems.items(), key=lambda item: _importance(item[0].removeprefix(head))))
    blocks += [Row([column for column in columns if column]) for columns in stems.values() if any(columns)]
    return Subsection(head.rpartition("/")[2], anchor, blocks)


def _importance(part: str) -> int:
    """Return the place of a part of a run's files, such as ``.metrics``; the empty name is that of its history."""
    return len(_MOST_IMPORTANT) + 1 if not part else _MOST_IMPORTANT.get(part, len(_MOST_IMPORTANT))


def _file(name: str) -> str:
    return name.rpartition("/")[2]


def _figure(name: str, figure: PngFile) -> list[Block]:
    if figure.png is None:
        return [Paragraph(f"{_file(name)} is left out because of its size.")]
    command = figure.parameters.get("command")
    by = f", by aekit {command}" if isinstance(command, str) else ""
    blocks: list[Block] = [Picture(figure.png, f"{_file(name)}{by}", _file(name), has_pixels=command in _MOSAICS)]
    return blocks + _made_by(figure.parameters)


def _made_by(parameters: dict[str, Any]) -> list[Block]:
    if not parameters:
        return []
    rows = list(flatten(parameters).items())
    return [Details("Parameters", [Table(["parameter", "value"], rows, n_left=2, wrap=["value"])])]


def _table(name: str, table: TableFile) -> Block:
    n_shown = len(table.rows)
    if not table.rows:
        return Paragraph(f"{_file(name)}: no rows.")
    rows = count(table.n_rows, "row")
    if n_shown < table.n_rows:
        rows = f"the first {n_shown:,} of {rows}"
    if len(table.columns) < table.n_columns:
        rows += f", the first {len(table.columns)} of {table.n_columns:,} columns"
    return Table(table.columns, table.rows, caption=f"{_file(name)}: {rows}", n_left=None, sortable=True)


def _values(name: str, values: Any, max_rows: int) -> list[Block]:
    """Return a .json file: numbers with standard errors as a table, lists of objects as others, the rest as text."""
    if not isinstance(values, dict):
        values = {"": values}
    rest = {key: value for key, value in values.items() if key != "parameters"}
    parameters = values.get("parameters")
    blocks: list[Block] = []
    if scalars := _scalars(name, rest):
        blocks.append(scalars)
    for key, value in list(rest.items()):
        if _is_rows(value):
            blocks.append(_objects(f"{_file(name)} {key}".strip(), rest.pop(key), max_rows))
        elif not isinstance(value, (dict, list)):
            del rest[key]
    if rest or not values:
        text = json.dumps(rest.get("", rest), indent=1)
        cut = "\n..." if len(text) > MAX_JSON_CHARACTERS else ""
        more = "the rest" if blocks else "its text"
        blocks.append(Details(f"{_file(name)}: {more}", [Code(text[:MAX_JSON_CHARACTERS] + cut)]))
    return blocks + (_made_by(parameters) if isinstance(parameters, dict) else [])


def _scalars(name: str, values: dict[str, Any]) -> Table | None:
    plain = {key: value for key, value in values.items() if not isinstance(value, (dict, list))}
    errors = {key for key in plain if key.endswith("_error") and is_number(plain.get(key.removesuffix("_error")))}
    rows = [[key, value, plain.get(f"{key}_error")] for key, value in plain.items() if key not in errors]
    if not rows:
        return None
    columns = ["measure", "value", "standard error"]
    if not errors:
        columns, rows = columns[:2], [row[:2] for row in rows]
    return Table(columns, rows, caption=_file(name), n_left=None, sortable=True)


def _is_rows(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(row, dict) and not any(isinstance(x, (dict, list)) for x in row.values()) for row in value)
    )


def _objects(name: str, objects: list[dict[str, Any]], max_rows: int) -> Table:
    columns = list(dict.fromkeys(key for row in objects for key in row))
    rows = [[row.get(column) for column in columns] for row in objects[:max_rows]]
    n = f"the first {max_rows:,} of {len(objects):,} rows" if len(objects) > max_rows else count(len(objects), "row")
    return Table(columns, rows, caption=f"{name}: {n}", n_left=None, sortable=True)
