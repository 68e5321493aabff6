"""Total correlation against reconstruction for several objectives: the figure of docs/training.md.

    aekit sweep --data mnist --limit 3000 --arch dense --epochs 15 --objective elbo,beta-tc,factor --beta 1,2,4,8 \
        --seed 0-2 --threads 1 -o runs/tc
    aekit evaluate runs/tc/*.safetensors -o runs/tc
    python benchmarks/objectives.py runs/tc/evaluate.csv docs/objectives.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from aekit.core.artifacts import write_png
from aekit.plotting.style import build_figure, figure_style, lay_out, line_style

OFFSETS = ((5, 4), (-9, -11), (5, -11))  # of the numbers from their points
NAMES = {"elbo": "elbo", "beta-tc": "beta-tc", "factor": "factor"}


def main(table: str, output: str) -> None:
    """Draw the mean over seeds of each objective and beta, with one standard deviation."""
    models = pd.read_csv(table)
    with figure_style():
        figure = build_figure(5.2, 3.6)
        axes = figure.subplots()
        for number, (name, text) in enumerate(NAMES.items()):
            own = models[models["objective"] == name]
            if own.empty:
                continue
            groups = own.groupby("beta")[["reconstruction", "total_correlation"]]
            mean, spread = groups.mean(), groups.std()
            colour, marker = line_style(number)
            axes.errorbar(
                mean["total_correlation"],
                mean["reconstruction"],
                xerr=spread["total_correlation"],
                yerr=spread["reconstruction"],
                color=colour,
                marker=marker,
                markersize=5,
                label=text,
            )
            for beta, row in mean.iterrows():
                axes.annotate(
                    f"{beta:g}",
                    (row["total_correlation"], row["reconstruction"]),
                    xytext=OFFSETS[number],
                    textcoords="offset points",
                    fontsize=7,
                    color=colour,
                )
        axes.set(xlabel="total correlation (nats)", ylabel="reconstruction (nats per image)")
        axes.margins(0.08)
        axes.legend(title="objective, by beta")
        write_png(Path(output), lay_out(figure), {"table": Path(table).name, "script": "benchmarks/objectives.py"})


if __name__ == "__main__":
    main(*sys.argv[1:])
