"""Where the ages of a network come from: maps of each scan, their means, and a test whether they mean anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import nn

from aekit.brains.config import BrainConfig
from aekit.brains.data import build_unlabelled_data
from aekit.brains.explain.ages import MIN_SCANS, Spread, ages_of, networks_of, spread_of
from aekit.brains.explain.explained import MAX_TESTED, Explained, randomisation_test
from aekit.brains.explain.groups import read_groups
from aekit.brains.explain.maps import Floats, Scan
from aekit.brains.explain.names import STEM, check_folder
from aekit.brains.explain.randomisation import Comparison, mean_of, passes, verdict
from aekit.brains.explain.request import ExplainRequest, Model, ScanRequest
from aekit.brains.explain.writing import Output, write_means, write_scans, write_test
from aekit.brains.members import Ensemble, read_ensemble
from aekit.brains.networks import MAX_AGE_YEARS
from aekit.brains.predict import check_finished, list_paths
from aekit.brains.predictions import describe_clamped
from aekit.brains.quality.new_scans import judge_new_scans, read_checkpoint_standard
from aekit.brains.volumes.gridding import Grid
from aekit.brains.volumes.nifti import decode_volume
from aekit.brains.volumes.placement import grid_affine
from aekit.brains.volumes.store import PreparedVolumes, prepare_volumes, take_rows, with_pose_warnings
from aekit.core.artifacts import check_writable
from aekit.core.checkpoint import Header
from aekit.core.device import choose_device, set_threads
from aekit.core.output import Result
from aekit.core.progress import SILENT, Named, Progress
from aekit.core.settings import to_dict
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, count

N_SHOWN = 20
_LITTLE = 0.05  # of the spread of ages: below it, maps of the image are not what ages come from


@keeps_torch_settings
def run_explain(
    checkpoint: Path,
    wanted: ScanRequest,
    output: Path | None = None,
    request: ExplainRequest = ExplainRequest(),  # noqa: B008 - frozen
    device: str = "auto",
    threads: int | None = None,
    *,
    progress: Progress = SILENT,
) -> Result:
    """Return the figure of the mean maps of some scans, with its numbers; maps and tables lie in the same folder.

    Args:
        checkpoint: Of a training of brain networks.
        wanted: The scans.
        output: The folder to write; None is ``x.explain`` next to ``x.safetensors``.
        request: Which maps.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        threads: CPU threads; None uses all cores.
        progress: Shows how many scans are explained.

    Raises:
        AekitError: The checkpoint, a volume or the table cannot be used, or maps would lie among the scans.
    """
    folder = checkpoint.with_suffix(f".{STEM}") if output is None else Path(output)
    progress = Named(progress, str(folder))  # others may be running on the same terminal
    paths = list_paths(wanted.volumes)
    check_folder(folder, paths)
    n_threads, chosen = set_threads(threads), choose_device(device)
    ensemble, config, header = read_ensemble(checkpoint, chosen)
    check_finished(checkpoint, header)
    model, networks = _choose(checkpoint, ensemble, request.model)
    groups = read_groups(wanted.table, wanted.group, paths)
    check_writable(folder / f"{STEM}.png")
    prepared = _prepare(paths, ensemble, config, header, wanted, n_threads, progress)
    used = [row for row in range(len(paths)) if row not in prepared.bad]
    judged = judge_new_scans(
        read_checkpoint_standard(checkpoint, header, ensemble.images), take_rows(prepared, np.array(used)), progress
    )
    for row, reason in zip(used, judged.reasons, strict=True):
        if reason:
            progress.notice(f"{paths[row]}: {reason}; its maps explain an age that is not to be trusted")
    paths = [paths[row] for row in used]
    grid = Grid(config.data.size, config.data.spacing_mm)
    poses = prepared.poses[used]
    affines = [
        grid_affine(decode_volume(path, wanted.spacing_mm), grid, pose) for path, pose in zip(paths, poses, strict=True)
    ]
    mirrored = "flip" in config.train.augment
    explained = Explained(request, model, networks, mirrored, grid, chosen, _scans(prepared, used))
    target = Output(folder, {"checkpoint": checkpoint.name, "explain": to_dict(request), **to_dict(config)})
    ages = ages_of(explained.age, explained.scans, chosen)
    rows, means = write_scans(explained, paths, affines, ages, groups, target, progress)
    write_means(explained, means, groups, target)
    spread = spread_of(explained.age, explained.scans, chosen)
    test = randomisation_test(explained, progress)
    if test:
        write_test(test, min(len(paths), MAX_TESTED), target)
    _show(rows, ages, spread, test, progress)
    return Result(folder / f"{STEM}.png", _values(explained, spread, test))


def _choose(checkpoint: Path, ensemble: Ensemble, asked: Model | None) -> tuple[Model, list[nn.Module]]:
    """Return which networks are explained, and those of all members."""
    members = [cast(dict[Model, nn.Module], stages) for stages in ensemble.networks.values()]
    models: tuple[Model, ...] = ("chain", "direct")
    known = [model for model in models if any(model in stages for stages in members)]
    if not known:
        raise AekitError(f"{checkpoint}: has no networks that predict age; train it again")
    if asked is not None and asked not in known:
        advice = " or train with --direct" if asked == "direct" else " or train on a table with volumes"
        raise AekitError(f"{checkpoint}: has no {asked} networks; use --model {known[0]},{advice}")
    model = asked or known[0]
    return model, networks_of(members, model)


def _prepare(
    paths: list[Path],
    ensemble: Ensemble,
    config: BrainConfig,
    header: Header,
    wanted: ScanRequest,
    n_threads: int,
    progress: Progress,
) -> PreparedVolumes:
    """Return the scans on the grid of a checkpoint, and name those that cannot be used."""
    prepared = prepare_volumes(
        paths,
        Grid(config.data.size, config.data.spacing_mm),
        correct_bias=config.data.correct_bias,
        intensity=config.data.intensity,
        register=config.data.register,
        template=ensemble.template,
        spacing_mm=wanted.spacing_mm,
        skip_bad=wanted.skip_bad,
        jobs=n_threads,
        progress=progress,
    )
    prepared = with_pose_warnings(prepared, header.result.get("poses", {}))
    for row, why in sorted(prepared.bad.items()):
        progress.notice(f"{paths[row]}: {why}; left out")
    for row, texts in sorted(prepared.warnings.items()):
        progress.notice(f"{paths[row]}: {'; '.join(texts)}")
    return prepared


def _scans(prepared: PreparedVolumes, rows: Sequence[int]) -> list[Scan]:
    cumulative_ml = build_unlabelled_data(prepared).cumulative_ml
    return [Scan(torch.from_numpy(prepared.images[row].astype(np.float32)), cumulative_ml[row]) for row in rows]


def _show(
    rows: pd.DataFrame, ages: Floats, spread: Spread | None, test: Sequence[Comparison], progress: Progress
) -> None:
    """Show the first scans, what each input explains, and how the test ended."""
    names = ["occlusion_sum_years", "occlusion_peak_years", "smoothgrad_peak_years_per_unit"]
    cells = [
        (row["name"], f"{row['age_years']:.1f}", *(f"{row[name]:.3g}" for name in names))
        for _, row in rows.head(N_SHOWN).iterrows()
    ]
    more = f", the first {N_SHOWN} of {len(rows):,}" if len(rows) > N_SHOWN else ""
    heads = ["scan", "age", "occlusion: sum", "occlusion: peak", "SmoothGrad: peak"]
    progress.table(f"{rows['model'].iloc[0]}: years, and years per unit of intensity{more}", heads, cells)
    n_clamped = int(((ages <= 0) | (ages >= MAX_AGE_YEARS)).sum())
    if n_clamped:
        progress.notice(
            f"{describe_clamped(n_clamped, count(len(ages), 'scan'), is_new=True)}; their maps are too weak, or empty"
        )
    progress.notice(_describe_spread(spread, len(rows)))
    for kind in dict.fromkeys(row.kind for row in test):
        progress.notice(verdict(test, kind))


def _describe_spread(spread: Spread | None, n: int) -> str:
    if spread is None:
        few = "they are all the same" if n >= MIN_SCANS else f"it takes {MIN_SCANS} scans or more"
        return f"how much of the spread of ages comes from the histogram is unknown: {few}"
    text = (
        f"of the spread (variance) of predicted ages over {count(n, 'scan')}, {100 * spread.histogram:.0f} % comes "
        f"from the intensity histogram alone and {100 * spread.image:.0f} % from the image, which the maps explain"
    )
    return text if spread.image >= _LITTLE else f"{text}: they show little of where these ages come from"


def _values(explained: Explained, spread: Spread | None, test: Sequence[Comparison]) -> dict[str, Any]:
    values: dict[str, Any] = {"model": explained.model, "n": len(explained.scans), "networks": len(explained.networks)}
    if spread is not None:
        values |= {"histogram_fraction": spread.histogram, "image_fraction": spread.image}
    for kind in dict.fromkeys(row.kind for row in test):
        compared = dict.fromkeys(row.compared for row in test)
        pairs = {name: [_finite(one) for one in mean_of(test, kind, name)] for name in compared}
        values[kind] = {"passes": passes(test, kind), "rank_correlation": pairs}
    return values


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
