"""How sites differ: in the ages of their participants, and in each measure given age and sex."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aekit.brains.figures.measures import WIDTH_INCHES, Estimate
from aekit.plotting.outside import mark_outside, padded, usual_range
from aekit.plotting.style import BLACK, BLUE, build_figure, figure_style, finish_figure, shorten

FloatArray = npt.NDArray[np.floating]

MAX_SITES = 40


def plot_sites(
    ages: Mapping[str, FloatArray], differences: Mapping[str, Sequence[Estimate]], *, title: str = ""
) -> Figure:
    """Return the ages at each site as boxes, and for each measure the sites' differences given age and sex.

    The axes span the usual differences; those beyond are marked at the edge, with their value.

    Args:
        ages: Ages at each site in years, largest site first; the box spans 25 to 75 %, its line 5 to 95 %. Of more than
            forty sites the largest are drawn.
        differences: For each measure, one estimate per site in SDs, labelled with the site.
        title: Title of the figure.
    """
    sites = list(ages)[:MAX_SITES]
    places = {site: -row for row, site in enumerate(sites)}
    with figure_style():
        figure = build_figure(WIDTH_INCHES, 1.3 + 0.27 * len(sites))
        all_axes = np.atleast_1d(figure.subplots(1, 1 + len(differences), sharey=True))
        for site in sites:
            _draw_box(all_axes[0], ages[site], places[site])
        all_axes[0].set_yticks(list(places.values()), [f"{shorten(site, 18)} ({len(ages[site]):,})" for site in sites])
        all_axes[0].set(xlabel="age (years)", ylim=(-len(sites) + 0.4, 0.6))
        for axes, (name, estimates) in zip(all_axes[1:], differences.items(), strict=True):
            axes.axvline(0, color="#444444", linewidth=0.8)
            for each in estimates:
                if each.label in places:
                    place = places[each.label]
                    axes.plot([each.low, each.high], [place, place], color=BLUE, linewidth=2)
                    axes.plot(each.value, place, "o", color=BLUE, markersize=4)
            drawn = [each for each in estimates if each.label in places]
            if drawn:
                ends = np.array([(each.low, each.high) for each in drawn])
                value = np.array([each.value for each in drawn])
                low, high = usual_range(ends, value)
                axes.set_xlim(padded((min(low, 0.0), max(high, 0.0))))
                labels = [each.label for each in drawn]
                mark_outside(axes, value, np.array([places[label] for label in labels], float), labels)
            axes.set(xlabel=f"{name}, site minus all (SD)")
            axes.tick_params(axis="y", length=0)
        return finish_figure(figure, title)


def _draw_box(axes: Axes, values: FloatArray, place: float) -> None:
    low, first, middle, third, high = np.percentile(values, [5, 25, 50, 75, 95])
    axes.plot([low, high], [place, place], color="#444444", linewidth=0.8)
    axes.barh(place, third - first, left=first, height=0.55, color="#d9e8f2", edgecolor="#444444", linewidth=0.7)
    axes.plot([middle, middle], [place - 0.27, place + 0.27], color=BLACK)
