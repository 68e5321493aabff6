from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from aekit.brains.report.quality import QualityMeasure
from aekit.brains.report.sections.reading import reading_section
from aekit.core.text_rows import Repair
from aekit.plotting.html import Bullets


def test_a_clean_table_has_nothing_to_tell(analyse_table, participants, shown):
    found = shown(reading_section(*analyse_table(participants(12)[["participant_id", "age", "sex"]])))
    assert found.texts == [
        "12 participants read from t.tsv; 12 in this report.",
        "No corrections were needed.",
        "No values are missing.",
    ]
    assert found.tables == []


def test_missing_values_are_counted_and_other_numbers_summed_up(cohort_study, cohort_table, shown):
    missing, others = shown(reading_section(*cohort_study)).tables
    assert [list(row) for row in missing.rows] == [["age", 1, "2.3"]]  # 1 of 44
    ((name, n, mean, sd, r),) = others.rows
    assert (name, n) == ("iq", 44)
    assert (mean, sd) == pytest.approx((cohort_table["iq"].mean(), cohort_table["iq"].std()))
    assert r == f"{cohort_table['iq'].corr(cohort_table['age']):+.2f}"


def test_what_happened_on_the_way_is_listed_and_long_lists_are_cut(ages_study, shown):
    analysis, source = ages_study
    rows = [(f"sub-{number}", "age", number, "is not an age") for number in range(25)]
    source = replace(
        source,
        repairs=[Repair("89+ read as 89", 3, ("a", "b"))],
        left_out=pd.DataFrame(rows, columns=["participant_id", "column", "value", "reason"]),
        qc_notes=["2 participants failed."],
        quality=[QualityMeasure("snr", 20, 9.5, np.nan)],
    )
    found = shown(reading_section(analysis, source))
    repairs, left_out, quality = found.tables
    assert repairs.rows == [("89+ read as 89", "a, b", 3)]
    assert (len(left_out.rows), left_out.caption) == (20, "Left out: the first 20 of 25.")
    assert left_out.rows[2] == ("sub-2", "age", "2", "is not an age")
    assert quality.rows == [("snr", 20, 9.5, "")]
    assert [block.items for block in found.blocks if isinstance(block, Bullets)] == [["2 participants failed."]]
    assert "No corrections were needed." not in found.texts
