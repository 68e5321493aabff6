"""The files of an explanation: maps of each scan and their means, as volumes and figures, and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aekit.brains.explain.explained import Explained, RunningMean
from aekit.brains.explain.figure import Panel, plot_maps
from aekit.brains.explain.groups import Groups, file_name
from aekit.brains.explain.maps import AgeMap, Floats
from aekit.brains.explain.names import STEM, names_of
from aekit.brains.explain.randomisation import Comparison
from aekit.brains.volumes.placement import centred_affine, to_mm, write_nifti
from aekit.core.artifacts import write_csv, write_png
from aekit.core.progress import Progress
from aekit.errors import count

_UNITS = {"occlusion": "years", "smoothgrad": "years per unit of intensity"}
_TITLES = {
    "occlusion": "Occlusion: age minus the age if a cube of {edge:g} mm around here is replaced by {fill}",
    "smoothgrad": "SmoothGrad: by how much the age rises where a voxel gets brighter",
}
_FILLS = {"mean": "the mean intensity of the brain", "blur": "the blurred scan"}


@dataclass(frozen=True)
class Output:
    """Where the files go.

    Attributes:
        folder: For all of them.
        parameters: What figures carry in their text chunk.
    """

    folder: Path
    parameters: dict[str, Any]

    def write(self, explained: Explained, stem: str, maps: Mapping[str, Floats], affine: Floats, title: str) -> None:
        """Write a figure, and each map as a volume; ``maps`` has the image under them as ``grid``."""
        self.write_volumes(stem, maps, affine)
        panels = _panels(explained, maps)
        write_png(self.folder / f"{stem}.png", plot_maps(panels, title=title), {**self.parameters, "maps": stem})

    def write_volumes(self, stem: str, maps: Mapping[str, Floats], affine: Floats) -> None:
        """Write each map as a volume on the grid."""
        for kind, values in maps.items():
            about = f"aekit mri-explain: {_UNITS.get(kind, 'scaled intensity')}"
            write_nifti(self.folder / f"{stem}.{kind}.nii.gz", values, affine, about)


def _panels(explained: Explained, maps: Mapping[str, Floats]) -> list[Panel]:
    words = {"edge": explained.cubes.edge * explained.grid.spacing_mm, "fill": _FILLS[explained.request.fill]}
    spacing_mm = explained.grid.spacing_mm
    return [Panel(_TITLES[kind].format(**words), _UNITS[kind], maps[kind], maps["grid"], spacing_mm) for kind in _UNITS]


def write_scans(
    explained: Explained,
    paths: Sequence[Path],
    affines: Sequence[Floats],
    ages: Floats,
    groups: Groups | None,
    output: Output,
    progress: Progress,
) -> tuple[pd.DataFrame, dict[str, RunningMean]]:
    """Write the maps of each scan; return a row per scan, and the mean maps of each group, under ``""`` that of all."""
    means: dict[str, RunningMean] = {}
    rows = []
    for number, (scan, path, name) in enumerate(zip(explained.scans, paths, names_of(paths), strict=True)):
        progress.update("explaining scans", number, len(paths))
        maps = explained.maps(scan)
        layers = {"grid": scan.image.numpy().astype(np.float64), **{kind: one.values for kind, one in maps.items()}}
        if number < explained.request.max_figures:
            title = f"{name}: {explained.model}, age {ages[number]:.1f} years"
            output.write(explained, name, layers, affines[number], title)
        else:
            output.write_volumes(name, layers, affines[number])
        own = "" if groups is None else groups.of_path.get(path, "")
        for group in {"", own}:
            means.setdefault(group, RunningMean()).add(layers)
        about = {"file": str(path), "name": name} | ({} if groups is None else {"group": own})
        rows.append({**about, **_row(explained, ages[number], maps, affines[number])})
    progress.update("explaining scans", len(paths), len(paths))
    table = pd.DataFrame(rows)
    write_csv(output.folder / f"{STEM}.csv", table)
    return table, means


def _row(explained: Explained, age_years: float, maps: Mapping[str, AgeMap], affine: Floats) -> dict[str, Any]:
    row: dict[str, Any] = {"model": explained.model, "age_years": age_years}
    for kind, unit in (("occlusion", "years"), ("smoothgrad", "years_per_unit")):
        values = maps[kind].values
        peak = tuple(int(place) for place in np.unravel_index(int(np.abs(values).argmax()), values.shape))
        row |= {f"{kind}_sum_{unit}": maps[kind].total, f"{kind}_peak_{unit}": values[peak]}
        row |= {f"{kind}_peak_{axis}_mm": mm for axis, mm in zip("xyz", to_mm(affine, peak), strict=True)}
    return row


def write_means(explained: Explained, means: Mapping[str, RunningMean], groups: Groups | None, output: Output) -> None:
    """Write the mean maps of all scans and of each group, and the difference of two groups."""
    affine = centred_affine(explained.grid)
    every = means[""]
    title = f"{explained.model}: mean of {count(every.n, 'scan')}"
    output.write(explained, STEM, every.means(), affine, title)
    names = [] if groups is None else groups.names
    for group in names:
        own = means[group]
        title = f"{explained.model}, {group}: mean of {count(own.n, 'scan')}"
        output.write(explained, f"{STEM}.{file_name(group)}", own.means(), affine, title)
    if len(names) == 2:
        first, second = (means[group].means() for group in names)
        difference = {kind: first[kind] - second[kind] for kind in _UNITS} | {"grid": every.means()["grid"]}
        stem = f"{STEM}.{file_name(names[0])}-minus-{file_name(names[1])}"
        title = f"{explained.model}: mean of {names[0]} ({means[names[0]].n}) minus {names[1]} ({means[names[1]].n})"
        output.write(explained, stem, difference, affine, title)


def write_test(test: Sequence[Comparison], n_scans: int, output: Output) -> None:
    """Write the rank correlations of the randomisation test, a row per pair of maps."""
    rows = [asdict(row) for row in test]
    table = pd.DataFrame(rows).rename(
        columns={"kind": "map", "signed": "rank_correlation", "absolute": "rank_correlation_absolute"}
    )
    write_csv(output.folder / f"{STEM}.randomisation.csv", table.assign(n_scans=n_scans))
