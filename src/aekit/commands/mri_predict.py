"""``aekit mri-predict``: tissue volumes and age of new scans, with intervals, and a word where a scan is unlike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aekit.commands.checkpoints import choose_target
from aekit.errors import AekitError
from aekit.terminal import completion, options
from aekit.terminal.brain_options import SkipBad, VoxelSize
from aekit.terminal.console import Console, TrainingProgress
from aekit.terminal.streams import with_stdin

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from aekit.brains.members import MemberSays
    from aekit.brains.volumes.store import PreparedVolumes
    from aekit.core.checkpoint import Header

N_SHOWN = 20


def mri_predict(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            autocompletion=completion.checkpoints, metavar="CHECKPOINT", help="What mri-train wrote, .safetensors."
        ),
    ],
    volumes: Annotated[
        list[str],
        typer.Argument(
            autocompletion=completion.volumes,
            metavar="VOLUME...",
            help="Skull-stripped T1 volumes, or folders of them; - reads paths from stdin.",
        ),
    ],
    voxel_size: VoxelSize = None,
    skip_bad: SkipBad = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=options.OUTPUT,
            metavar="PATH",
            help="The table to write, .csv; or a folder for it.",
            show_default="beside the checkpoint",
        ),
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Read tissue volumes and age off new scans, a row each, as CSV.

    Reads a checkpoint of mri-train and brain volumes. Writes a table (.csv): a row a scan, in mL and years. The
    intervals are split-conformal: they hold the truth for 90 % of people like those on whom the error was measured
    (val, or the folds of a cross-validation). For scans unlike those that were trained on - voxels, size, intensities,
    age - they promise nothing; the column warnings says so. Prints the table's path.

    Example: aekit mri-predict runs/brain.safetensors new/*.nii.gz -o new.csv
    """
    from aekit.brains.members import ask_members, read_ensemble
    from aekit.brains.runs import COMPANIONS
    from aekit.brains.volumes.store import Grid, prepare_volumes
    from aekit.core.artifacts import check_writable, write_csv
    from aekit.core.device import choose_device, set_threads

    console = Console(quiet=quiet, json=json)
    target = choose_target([checkpoint], output, name="predicted", suffix=".csv")
    if target.resolve() in {checkpoint.with_suffix(suffix).resolve() for suffix in COMPANIONS}:
        raise AekitError(f"--output {target}: is a file of the training, which it would replace; choose another name")
    paths = _list_paths(volumes)
    n_threads, chosen = set_threads(threads), choose_device(device)
    ensemble, config, header = read_ensemble(checkpoint, chosen)
    if not header.result or header.state is not None:
        raise AekitError(f"{checkpoint}: is an unfinished run; finish it with mri-train --resume")
    if "seen" not in header.result:
        raise AekitError(f"{checkpoint}: its header is damaged; train it again")
    check_writable(target)
    with TrainingProgress(console) as progress:
        prepared = prepare_volumes(
            paths,
            Grid(config.data.size, config.data.spacing_mm),
            correct_bias=config.data.correct_bias,
            spacing_mm=voxel_size,
            skip_bad=skip_bad,
            jobs=n_threads,
            on_progress=progress.on_data,
        )
    for row, why in sorted(prepared.bad.items()):
        console.message(f"{paths[row]}: {why}; left out")
    import numpy as np

    rows = np.array([row for row in range(len(paths)) if row not in prepared.bad], dtype=np.int64)
    said = ask_members(
        ensemble.networks.values(),
        _unknown_people(prepared),
        rows,
        device=chosen,
        mirrored="flip" in config.train.augment,
    )
    table = _table([paths[row] for row in rows], said, header)
    table["warnings"] = _warnings(prepared, rows, table, header)
    write_csv(target, table)
    _say(table, header, console)
    ages = [name for name in ("age_years", "direct_age_years") if name in table]
    console.result(target, n=len(table), n_warned=int((table["warnings"] != "").sum()), columns=list(table), ages=ages)


def _list_paths(arguments: list[str]) -> list[Path]:
    """Return the volumes that are meant, each once, folders opened.

    Raises:
        AekitError: There is none, or a path is not there.
    """
    from aekit.brains.volumes.nifti import list_volumes

    texts = with_stdin(arguments, kind="volume")
    paths: dict[Path, Path] = {}
    for path in map(Path, texts):
        if not path.exists():
            raise AekitError(f"{path}: there is no such file; give volumes, or folders of them")
        found = list_volumes(path) if path.is_dir() else [path]
        if not found:
            raise AekitError(f"{path}: holds no volumes (.nii, .nii.gz, .npy); give another folder")
        for one in found:
            paths.setdefault(one.resolve(), one)
    if not paths:
        raise AekitError("-: no path came on stdin; the command before it made nothing, or give a volume's path")
    return list(paths.values())


def _unknown_people(prepared: PreparedVolumes) -> Any:
    """Return scans of people of whom nothing else is known."""
    import numpy as np
    import torch

    from aekit.brains.training import BrainData

    n = len(prepared.images)
    cumulative = np.cumsum(prepared.histograms_ml, axis=1, dtype=np.float32)
    return BrainData(prepared.images, torch.from_numpy(cumulative), torch.empty(n, 0), torch.zeros(n))


def _table(paths: list[Path], said: MemberSays, header: Header) -> pd.DataFrame:
    """Return a row a scan: age first, by the chain where there is one, then volumes or proportions, with intervals."""
    import numpy as np
    import pandas as pd

    from aekit.brains.predictions import AGE, TISSUE_TARGETS

    columns: dict[str, Any] = {"file": [str(path) for path in paths]}

    def add(name: str, values: npt.NDArray[np.float64], model: str, target: str) -> None:
        columns[name] = values
        for interval in header.result.get("conformal", []):
            if (interval["model"], interval["target"]) == (model, target):
                columns[f"{name}_low"] = np.maximum(values - interval["half_width"], 0.0)  # no quantity is below
                columns[f"{name}_high"] = values + interval["half_width"]

    if said.chain_age is not None:
        add(AGE, said.chain_age, "chain", AGE)
    if said.direct_age is not None:
        add(AGE if said.chain_age is None else f"direct_{AGE}", said.direct_age, "direct", AGE)
    if said.tissues is not None:
        for column, target in enumerate(TISSUE_TARGETS[header.model["target"]]):
            add(target, said.tissues[:, column], "volumes", target)
    return pd.DataFrame(columns)


def _warnings(prepared: PreparedVolumes, rows: npt.NDArray[np.int64], table: pd.DataFrame, header: Header) -> list[str]:
    from aekit.brains.domain import tell_unlike

    texts = []
    for place, row in enumerate(rows):
        ages = [float(table[name].iloc[place]) for name in ("age_years", "direct_age_years") if name in table]
        unlike = tell_unlike(header.result["seen"], prepared, int(row), ages)
        texts.append("; ".join([*prepared.warnings.get(int(row), ()), *unlike]))
    return texts


def _say(table: pd.DataFrame, header: Header, console: Console) -> None:
    names = [name for name in table if name not in ("file", "warnings") and not name.endswith(("_low", "_high"))]
    cells = []
    for _, row in table.head(N_SHOWN).iterrows():
        cells.append([Path(row["file"]).name, *(_with_ends(row, name) for name in names)])
    more = f", the first {N_SHOWN} of {len(table):,}" if len(table) > N_SHOWN else ""
    coverages = {round(100 * interval["coverage"]) for interval in header.result.get("conformal", [])}
    how = f" with {min(coverages)} % intervals" if coverages else ", without intervals, as nobody was held out"
    console.table(f"predicted{how}{more}", ["file", *names], cells)
    warned = table[table["warnings"] != ""]
    for _, row in warned.head(N_SHOWN).iterrows():
        console.message(f"{row['file']}: {row['warnings']}")
    if len(warned) > N_SHOWN:
        console.message(f"and {len(warned) - N_SHOWN:,} more volumes with warnings; see the table")


def _with_ends(row: Any, name: str) -> str:
    digits = 3 if name.endswith("_fraction") else 1
    text = f"{row[name]:.{digits}f}"
    if f"{name}_low" in row:
        text += f" [{row[f'{name}_low']:.{digits}f}, {row[f'{name}_high']:.{digits}f}]"
    return text
