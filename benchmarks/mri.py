"""Measure the commands for brains: phantoms, the cache, the report, and how well volumes and ages are predicted.

    AEKIT_DATA=... python benchmarks/mri.py           # all parts, about an hour on two cores
    AEKIT_DATA=... python benchmarks/mri.py phantoms ixi

The parts: `phantoms` (make 466 brains of 96^3), `caching`, `eda`, `ixi` (181 real brains, five folds, three seeds),
`heads` (the phantoms, strided), `hypotheses` (study 1b's table on the phantoms). Each part is kept in runs/bench/ and
written into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from program import measured
from report import BENCH, Part, main

PHANTOM = BENCH / "phantom-466"
DATA = Path(os.environ.get("AEKIT_DATA", ".")) / "brain"
IXI = [DATA / "tables" / "ixi_hh_participants.tsv", "--volumes", DATA / "volumes" / "ixi_hh_2mm"]
HEADS = [PHANTOM / "participants.tsv", "--volumes", PHANTOM / "volumes"]
NAMES = {
    "age_years": "age, years", "gmv_ml": "grey matter, mL", "wmv_ml": "white matter, mL", "csfv_ml": "CSF, mL",
}  # fmt: skip


# --- phantoms ---


def phantoms() -> dict:
    """Return the seconds that a brain of 96^3 takes on one thread, and of 466 on all."""
    with tempfile.TemporaryDirectory() as folder:
        few, some = (
            measured("mri-phantom", "-n", n, "--size", 96, "--jobs", 1, "-o", Path(folder) / str(n)) for n in (2, 22)
        )
    all_cores = measured("mri-phantom", "-n", 466, "--size", 96, "--seed", 0, "-o", PHANTOM, "--overwrite")
    people = pd.read_csv(PHANTOM / "participants.tsv", sep="\t")
    means = people.groupby("sex")[["csfv", "wmv", "gmv"]].mean().round(1).to_dict("index")
    one = (some["seconds"] - few["seconds"]) / 20
    return {"one": one, "all": all_cores["seconds"], "means": means, "peak_bytes": all_cores["peak_bytes"]}


def phantoms_table(result: dict) -> str:
    """Return a line of speed and a table of means."""
    lines = [
        f"One brain on one thread: **{result['one']:.2f} s** (target 0.6). 466 on all cores: {result['all']:.0f} s, "
        f"{result['peak_bytes'] / 2**20:.0f} MiB.\n",
        "| mean, mL | CSF | white matter | grey matter |",
        "| --- | ---: | ---: | ---: |",
    ]
    for sex, row in result["means"].items():
        lines.append(f"| {sex} | {row['csfv']:.0f} | {row['wmv']:.0f} | {row['gmv']:.0f} |")
    return "\n".join(lines)


# --- cache ---

_CACHE = """
import json, resource, sys, time
from pathlib import Path
from aekit.brains.volumes.gridding import Grid
from aekit.brains.volumes.store import prepare_volumes
from aekit.brains.volumes.nifti import list_volumes
size, spacing = int(sys.argv[2]), float(sys.argv[3])
started = time.perf_counter()
prepared = prepare_volumes(list_volumes(Path(sys.argv[1])), Grid((size,) * 3, spacing), correct_bias=True)
opened = time.perf_counter()
rates = []
for _ in range(3):
    start = time.perf_counter()
    for row in range(0, len(prepared.images), 8):
        prepared.images[row : row + 8].astype("float32")
    rates.append(prepared.images.nbytes / (time.perf_counter() - start))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
found = {"seconds": opened - started, "bytes_per_second": max(rates), "peak_bytes": peak, "n": len(prepared.images)}
print(json.dumps(found))
"""


def caching() -> list[dict]:
    """Return seconds, memory and reading rate of caches that are made, and then opened."""
    rows = []
    for name, folder, size, spacing in (
        ("IXI, 80 x 96 x 80 at 2 mm", IXI[2], 48, 4.0),
        ("phantoms, 96^3 at 2 mm", PHANTOM / "volumes", 48, 4.0),
        ("phantoms, kept at 96^3", PHANTOM / "volumes", 96, 2.0),
    ):
        with tempfile.TemporaryDirectory() as cache:
            for what in ("made", "opened"):
                command = [sys.executable, "-c", _CACHE, str(folder), str(size), str(spacing)]
                environment = os.environ | {"AEKIT_CACHE": cache}
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
                rows.append(
                    {"name": name, "what": what, "grid": f"{size}^3, {spacing:g} mm", **json.loads(done.stdout)}
                )
                time.sleep(3)  # files changed a moment ago are hashed again
    return rows


def caching_table(rows: list[dict]) -> str:
    """Return a line per cache."""
    lines = [
        "| volumes | grid | | seconds | peak memory, MiB | read again, GB/s |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        lines.append(
            f"| {row['n']} {row['name']} | {row['grid']} | {row['what']} | {row['seconds']:.2f} "
            f"| {row['peak_bytes'] / 2**20:.0f} | {row['bytes_per_second'] / 1e9:.1f} |"
        )
    return "\n".join(lines)


# --- the report of a cohort ---


def eda() -> list[dict]:
    """Return seconds, memory and size of the report for the real table, and for one of 100,000 participants."""
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large.csv"
        _write_large(large)
        cases = [("181 IXI brains, with their volumes", IXI), ("100,000 participants", [large])]
        rows = []
        for name, arguments in cases:
            done = measured("mri-eda", *arguments, "-o", Path(folder) / "report")
            n_bytes = (Path(folder) / "report" / "report.html").stat().st_size
            rows.append({"name": name, "seconds": done["seconds"], "peak_bytes": done["peak_bytes"], "html": n_bytes})
    return rows


def _write_large(path: Path) -> None:
    from aekit.brains.cohort.phantom_people import draw_person

    people = [draw_person(0, number) for number in range(100_000)]
    table = pd.DataFrame(
        [(p.age_years, p.sex, *p.volumes_ml) for p in people], columns=["age", "sex", "gmv", "wmv", "csfv"]
    )
    table.insert(0, "participant_id", [f"sub-{number:06}" for number in range(len(table))])
    table.to_csv(path, index=False)


def eda_table(rows: list[dict]) -> str:
    """Return a line per report."""
    lines = ["| report of | seconds | peak memory, MiB | HTML, MB |", "| --- | ---: | ---: | ---: |"]
    for row in rows:
        lines.append(
            f"| {row['name']} | {row['seconds']:.1f} | {row['peak_bytes'] / 2**20:.0f} | {row['html'] / 1e6:.1f} |"
        )
    return "\n".join(lines)


# --- training ---


def _train(name: str, *arguments: object) -> dict:
    output = BENCH / f"{name}.safetensors"
    done = measured("mri-train", *arguments, "-o", output, "--overwrite")
    metrics = pd.read_csv(output.with_suffix(".metrics.csv"))
    judged = done["printed"]["split"]
    differences = pd.read_csv(output.with_suffix(".differences.csv"))
    return {
        "seconds": done["seconds"],
        "peak_bytes": done["peak_bytes"],
        "split": judged,
        "rows": metrics[metrics["split"] == judged].to_dict("records"),
        "differences": differences[(differences["split"] == judged) & (differences["target"] == "age_years")].to_dict(
            "records"
        ),
    }


def _metrics_table(result: dict) -> str:
    lines = [
        f"{result['seconds'] / 60:.1f} minutes, caching included, peak memory {result['peak_bytes'] / 2**20:.0f} MiB. "
        f"MAE of the {result['rows'][0]['n']} participants in split `{result['split']}`, with 95 % intervals:\n",
        "| model | " + " | ".join(NAMES.values()) + " | R^2 of the three volumes |",
        "| --- " * 6 + "|",
    ]
    rows = pd.DataFrame(result["rows"])
    for model in dict.fromkeys(rows["model"]):
        cells, r2 = [], []
        for target in NAMES:
            own = rows[(rows["model"] == model) & (rows["target"] == target)]
            if not len(own):
                cells.append("")
                continue
            row = own.iloc[0]
            cells.append(f"{row['mae']:.2f} [{row['mae_low']:.2f}, {row['mae_high']:.2f}]")
            r2 += [f"{row['r2']:.3f}"] if target != "age_years" else []
        lines.append(f"| {model} | {' | '.join(cells)} | {' '.join(r2)} |")
    lines.append("\nPaired differences of the MAE of age, network minus baseline (negative: the network is better):\n")
    lines += ["| network | baseline | years |", "| --- | --- | ---: |"]
    for row in result["differences"]:
        if row["baseline"] in ("gp", "linear", "ridge-histogram", "ridge-voxels"):
            ends = f"{row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"
            lines.append(f"| {row['model']} | {row['baseline']} | {ends} |")
    return "\n".join(lines)


def ixi() -> dict:
    """Return the cross-validated errors on 181 real brains."""
    return _train("ixi", *IXI, "--cv", 5, "--seeds", 3, "--direct")


ixi_table = _metrics_table


def heads() -> dict:
    """Return the errors on the phantoms held out for testing."""
    return _train("heads", *HEADS, "--direct")


heads_table = _metrics_table


def hypotheses() -> dict:
    """Return study 1b's table on the phantoms, and the minutes that it took."""
    output = BENCH / "study1b.safetensors"
    done = measured("mri-train", *HEADS, "--hypotheses", "-o", output, "--overwrite")
    table = pd.read_csv(output.with_suffix(".hypotheses.csv"))
    rows = table.replace({np.nan: None}).to_dict("records")
    return {"seconds": done["seconds"], "peak_bytes": done["peak_bytes"], "rows": rows}


def hypotheses_table(result: dict) -> str:
    """Return a line per hypothesis, model and split."""
    lines = [
        f"**{result['seconds'] / 60:.1f} minutes** for all four (target 30), "
        f"{result['peak_bytes'] / 2**20:.0f} MiB of memory.\n",
        "| | model | split | participants | MAE, years | MSE of z | MSE of z of volumes | MAE minus base |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["rows"]:
        if row["split"] == "train" or (row["model"] == "mean" and row["hypothesis"] != "base"):
            continue
        volumes = "" if row["tissue_mse_z"] is None else f"{row['tissue_mse_z']:.3f}"
        difference = ""
        if row["difference"] is not None:
            difference = f"{row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"
        ends = "" if row["mae_low"] is None else f" [{row['mae_low']:.2f}, {row['mae_high']:.2f}]"
        lines.append(
            f"| {row['hypothesis']} | {row['model']} | {row['split']} | {row['n']} "
            f"| {row['mae']:.2f}{ends} | {row['mse_z']:.3f} | {volumes} | {difference} |"
        )
    return "\n".join(lines)


PARTS = {
    "phantoms": Part(phantoms, phantoms_table),
    "caching": Part(caching, caching_table),
    "eda": Part(eda, eda_table),
    "ixi": Part(ixi, ixi_table),
    "heads": Part(heads, heads_table),
    "hypotheses": Part(hypotheses, hypotheses_table),
}


if __name__ == "__main__":
    main(__doc__, PARTS)
