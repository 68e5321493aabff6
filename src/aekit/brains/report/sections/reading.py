"""The section of the cohort report on how the table was read: corrections, rows left out, missing values."""

from __future__ import annotations

from aekit.brains.report.analysis import Analysis
from aekit.brains.report.reading import CohortInput
from aekit.brains.report.tables import missing_table, other_numbers
from aekit.brains.report.words import N_LISTED, count_participants, first_of, signed
from aekit.plotting.html import Block, Bullets, Paragraph, Section, Table

_MAX_COLUMNS = 60


def reading_section(analysis: Analysis, source: CohortInput) -> Section:
    """Return the section on how the participants were read and what is missing."""
    cohort = analysis.cohort
    counts = f"{count_participants(len(source.everyone))} read from {cohort.name}; {len(cohort):,} in this report."
    return Section(
        "Reading the table",
        [
            Paragraph(counts),
            _repairs(source),
            *_left_out(source),
            *_quality(source),
            _missing(analysis),
            *_other_columns(analysis),
        ],
    )


def _repairs(source: CohortInput) -> Block:
    if not source.repairs:
        return Paragraph("No corrections were needed.")
    rows = [(each.what, ", ".join(each.examples), each.n) for each in source.repairs]
    heads = ["correction", "examples", "count"]
    return Table(heads, rows, caption="Corrections made while reading.", n_left=2, wrap=heads[:2])


def _left_out(source: CohortInput) -> list[Block]:
    if not len(source.left_out):
        return []
    rows = [tuple(map(str, row)) for row in source.left_out.head(N_LISTED).itertuples(index=False)]
    heads = ["participant", "column", "value", "reason"]
    return [Table(heads, rows, caption=first_of(source.left_out, "Left out"), n_left=4, wrap=["reason"])]


def _quality(source: CohortInput) -> list[Block]:
    blocks: list[Block] = [Bullets(source.qc_notes)] if source.qc_notes else []
    if source.quality:
        rows = [(each.name, each.n, each.mean, signed(each.r_age)) for each in source.quality]
        heads = ["quality measure", "participants", "mean", "r with age"]
        blocks.append(Table(heads, rows, caption="Image quality that correlates with age can be mistaken for it."))
    return blocks


def _missing(analysis: Analysis) -> Block:
    table = missing_table(analysis)
    gaps = table[table["n_missing"] > 0]
    if not len(gaps):
        return Paragraph("No values are missing.")
    rows = [
        (name, n, f"{100 * fraction:.1f}")
        for name, n, fraction in zip(gaps["column"], gaps["n_missing"].tolist(), gaps["share_missing"], strict=True)
    ]
    caption = "Missing values. All columns: missing.csv."
    return Table(["column", "missing", "%"], rows[:_MAX_COLUMNS], caption=caption)


def _other_columns(analysis: Analysis) -> list[Block]:
    rows = [(name, n, mean, sd, signed(r)) for name, n, mean, sd, r in other_numbers(analysis)]
    if not rows:
        return []
    return [Table(["column", "participants", "mean", "SD", "r with age"], rows, caption="Other numeric columns.")]
