"""The section of the cohort report on the outliers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aekit.brains.report.analysis import LABELS, Analysis, Outliers
from aekit.brains.report.tables import outlier_reason
from aekit.brains.report.words import N_LISTED, picture, signed
from aekit.plotting.html import Block, Paragraph, Section, Table


def outlier_section(analysis: Analysis, found: Outliers, pictures: Mapping[str, bytes]) -> Section:
    """Return the section on participants whose volumes are unusual for their age and sex."""
    order = found.order()
    blocks: list[Block] = [
        Paragraph(
            f"Participants are flagged if they have a volume more than {found.limits.z_limit:.2f} robust SDs from "
            "others of their age and sex, or volumes that together lie beyond a Mahalanobis distance of "
            f"{found.limits.squared_limit**0.5:.2f} (exceeded by one in a thousand typical participants). The smaller "
            "a cohort, the wider the limits. Inspect them; they are not removed."
        ),
        *([] if order else [Paragraph("There are none.")]),
        *picture(
            pictures,
            "outliers.png",
            "Robust z values and Mahalanobis distances",
            "Grey: participants within the limits (dashed). A single distant point is an unusual participant or an "
            "error; many on one side mean another scanner, unit or segmentation.",
        ),
    ]
    if order:
        blocks.append(_table(analysis, found, order))
    return Section("Outliers", blocks)


def _table(analysis: Analysis, found: Outliers, order: Sequence[int]) -> Table:
    ids = [str(one) for one in analysis.cohort.table["participant_id"]]
    age, sex = analysis.cohort.age_years, analysis.cohort.sex
    rows = [
        (
            ids[row],
            outlier_reason(analysis, row),
            f"{age[row]:.1f}",
            sex[row] if isinstance(sex[row], str) else "",
            *(signed(z) for z in found.z[row]),
            f"{found.squared[row] ** 0.5:.2f}",
        )
        for row in order[:N_LISTED]
    ]
    heads = ["participant", "reason", "age", "sex", *(f"z {LABELS[key]}" for key in found.keys), "distance"]
    caption = f"The {len(rows)} most extreme of {len(order):,}. All: outliers.csv."
    return Table(heads, rows, caption=caption if len(order) > len(rows) else "All outliers.", n_left=2, wrap=["reason"])
