"""What a sweep is about to do: its runs, how they differ, where they go, and whether that makes sense.

Standard library only, so that a mistake is reported before torch is loaded.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aekit.core.settings import SELF_NAMED, as_text, flag, in_words
from aekit.core.text_tables import TableFormat
from aekit.errors import AekitError, UsageError
from aekit.images.config import RunConfig
from aekit.images.official import check_can_choose, has_validation
from aekit.images.run_settings import MINIMISED, SETTINGS, VAE_ONLY, command_words, flat, run_name
from aekit.images.sweep.cells import expand

Metric = Literal["total", "elbo", "reconstruction", "kl", "mse"]
MANY_CELLS = 1000
REPETITIONS = ("seed", "split_seed")  # cells that differ in these alone are averaged
_SAME_IMAGES = (*REPETITIONS, "labels")  # settings of the data that do not keep cells from being compared
_NAMED_BY_STEM = {"init": "checkpoints", "labels": "tables of labels", "data": "image sets"}
_MAX_CHARACTERS = 24  # of the values of an option in the name of a folder
_SUFFIXES = (".csv", ".png", ".safetensors")  # of files in the folder, which are not the folder


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        config: What is trained.
        path: Its checkpoint.
        label: A few words that distinguish it from the other cells.
    """

    config: RunConfig
    path: Path
    label: str


@dataclass(frozen=True)
class Plan:
    """A sweep that can be run.

    Attributes:
        cells: The runs, the option that is named last changing fastest; numbers from the least to the largest.
        swept: The settings in which they differ, by the names of the options, in the order given.
        folder: Where everything goes.
        best: The metric by which to choose one cell, the least on validation images; None keeps all.
        retrain: Train the chosen cell on all of the training images.
        form: ``md`` or ``tex`` for a table for reading next to ``results.csv``.
    """

    cells: tuple[Cell, ...]
    swept: tuple[str, ...]
    folder: Path
    best: Metric | None = None
    retrain: bool = False
    form: TableFormat = "csv"


def plan_sweep(
    given: dict[str, str | bool | None],
    output: Path | None = None,
    *,
    best: Metric | None = None,
    retrain: bool = False,
    form: TableFormat = "csv",
    may_be_large: bool = False,
) -> Plan:
    """Return the sweep over all combinations of the values that are given.

    Args:
        given: The values of each option as text, by its name with underscores, in the order in which names and
            figures have them; see :func:`expand`.
        output: The folder; None is one in ``runs`` whose name is made of the options.
        best: Choose the cell with the least of this metric.
        retrain: Train the chosen cell on all of the training images.
        form: ``md`` or ``tex`` for a table for reading next to ``results.csv``.
        may_be_large: Allow more than ``MANY_CELLS`` cells.

    Raises:
        UsageError: A value cannot be read, or an option needs another one.
        AekitError: A configuration is refused, or the cells cannot be compared by the metric.
    """
    configs, swept = expand(given)
    if len(configs) > MANY_CELLS and not may_be_large:
        raise AekitError(f"sweep: this is a grid of {len(configs):,} cells; add --yes to train them all")
    if retrain and best is None:
        raise UsageError("--retrain: needs a choice of the best cell; add --best elbo")
    if best is not None:
        _check_metric(best, configs, swept)
    for config in configs:
        check_can_choose(config)
    folder = _folder(output, configs, lambda: expand(given, is_sorted=False)[0])
    cells = tuple(Cell(config, cell_path(folder, config, swept), _label(config, swept)) for config in configs)
    if len({cell.path for cell in cells}) < len(cells):
        name = _of_same_name(configs, swept)
        raise AekitError(
            f"{flag(name)}: two {_NAMED_BY_STEM[name]} of the same name would share files; sweep over them separately"
        )
    return Plan(cells, tuple(swept), folder, best, retrain, form)


def cell_path(folder: Path, config: RunConfig, swept: Sequence[str]) -> Path:
    """Return where a cell goes: under a name with every swept option, also at its default, in the order given."""
    return folder / f"{run_name(config, swept)}.safetensors"


def training_commands(plan: Plan, data_root: Path | None, device: str, threads: int | None) -> list[str]:
    """Return the training command of each cell, as for a shell.

    Run anywhere, these commands leave what the sweep would, and it continues from there.
    """
    where = ["--data-root", str(data_root)] if data_root else []
    where += [] if device == "auto" else ["--device", device]
    where += ["--threads", str(threads)] if threads else []
    return [shlex.join([*command_words(cell.config), *where, "--resume", "-o", str(cell.path)]) for cell in plan.cells]


def cell_settings(config: RunConfig) -> dict[str, Any]:
    """Return all settings of a run by the names of the options; those that its model does not have are None."""
    return flat(config) | ({} if config.model.has_prior else dict.fromkeys(VAE_ONLY))


def repeated(swept: Sequence[str]) -> str:
    """Return over what results are averaged, in words: ``seeds``, ``seeds and split seeds``, or nothing."""
    return " and ".join(f"{name.replace('_', ' ')}s" for name in REPETITIONS if name in swept)


def _check_metric(best: Metric, configs: Sequence[RunConfig], swept: Sequence[str]) -> None:
    """Raise an AekitError if the cells cannot be compared by a metric, which needs the same images and unit."""
    for name in swept:
        if SETTINGS[name][0] == "data" and name not in _SAME_IMAGES:  # labels change neither pixels nor weights
            raise AekitError(
                f"--best {best}: cells with different {flag(name)} have different validation images, whose results do "
                f"not compare; leave out --best, or sweep for each {flag(name)} separately"
            )
    if "condition" in swept and best != "mse":
        raise AekitError(
            f"--best {best}: likelihoods of an image given its class and without it (--condition) are not comparable; "
            "use mse"
        )
    if "labels" in swept and any(config.model.is_conditional for config in configs):
        raise AekitError(
            f"--best {best}: cells with --condition label and different --labels are told different classes, whose "
            "results do not compare; leave out --best"
        )
    if not all(has_validation(config.data) for config in configs):
        raise AekitError("--best: needs validation images (test images are never used for this); add --val 0.2")
    if best == "total" and (names := [name for name in (*MINIMISED, "loss") if name in swept]):
        raise AekitError(
            f"--best total: totals with different {names[0].replace('_', ' ')} are not comparable; use elbo, "
            "reconstruction or mse"
        )
    if best != "mse" and "loss" in swept:
        raise AekitError(f"--best {best}: likelihoods under different --loss are not comparable; use mse")
    if best in ("elbo", "kl") and not all(config.model.has_prior for config in configs):
        raise AekitError(f"--best {best}: a plain autoencoder has no KL divergence; use reconstruction or mse")


def _of_same_name(configs: Sequence[RunConfig], swept: Sequence[str]) -> str:
    """Return the swept option that takes files of which two have the same name."""
    for name in (name for name in _NAMED_BY_STEM if name in swept):
        files = {str(flat(config)[name]) for config in configs}
        if len({Path(file).stem for file in files}) < len(files):
            return name
    return "data"


def _folder(output: Path | None, configs: Sequence[RunConfig], as_given: Callable[[], Sequence[RunConfig]]) -> Path:
    if output is None:
        own = [
            {name: value for name, value in cell_settings(config).items() if value is not None} for config in configs
        ]
        folder = Path("runs") / _folder_name(own)
        # Earlier versions named it by the values in the order given, 4,2 and not 2,4: what is there is continued.
        earlier = folder if folder.exists() else Path("runs") / _folder_name([flat(config) for config in as_given()])
        return earlier if earlier.exists() else folder
    if output.suffix in _SUFFIXES and not output.is_dir():
        raise AekitError(f"--output {output}: a grid fills a folder; leave out the {output.suffix}")
    if output.exists() and not output.is_dir():
        raise AekitError(f"--output {output}: is a file, and a grid fills a folder; choose another name")
    return output


def _folder_name(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a name made of the values of the options that are not all at their default.

    The same for the same grid, in whatever order its options are given.
    """
    parts = ["sweep", "-".join(dict.fromkeys(row["model"] for row in rows))]
    for name, default in flat(RunConfig()).items():
        texts = list(dict.fromkeys(as_text(row[name]) for row in rows if name in row))
        if name == "model" or texts in ([], [as_text(default)]):
            continue
        if name in _NAMED_BY_STEM:  # which may be paths
            texts = [Path(text).stem for text in texts]
        values = ",".join(texts)
        is_short = len(values) <= _MAX_CHARACTERS
        key = "" if name in SELF_NAMED else name.replace("_", "")
        parts.append(f"{key}{values if is_short else f'{texts[0]}..{texts[-1]}x{len(texts)}'}")
    return "-".join(parts)


def _label(config: RunConfig, swept: Sequence[str]) -> str:
    values = flat(config)
    own = [name for name in swept if config.model.has_prior or name not in VAE_ONLY]
    texts = [in_words(name, "default" if values[name] is None else values[name]) for name in own]
    return ", ".join(texts) or f"{config.model.kind} {config.model.arch}, latent {config.model.latent}"
