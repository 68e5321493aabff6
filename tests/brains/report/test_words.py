import numpy as np

from aekit.brains.report.words import count_files, count_participants, ends, first_of, p_value, signed, some_names
from aekit.core.intervals import Interval


def test_one_is_written_in_the_singular():
    assert (count_participants(1), count_participants(2000)) == ("1 participant", "2,000 participants")
    assert (count_files(1), count_files(0)) == ("1 file", "0 files")


def test_of_many_names_the_first_twenty_are_listed():
    assert some_names(["a", "b"]) == "a, b"
    assert some_names([str(i) for i in range(25)]).endswith("18, 19 and 5 more")
    assert first_of(range(25), "Left out") == "Left out: the first 20 of 25."
    assert first_of(range(3), "Left out") == "Left out."


def test_a_missing_number_is_an_empty_text():
    assert (signed(-0.126), signed(np.nan)) == ("-0.13", "")
    assert ends(Interval(1, 0.5, 2)) == "0.50 to 2.00"
    assert ends(Interval(1, np.nan, np.nan)) == ""
    assert (p_value(1e-9), p_value(0.0412)) == ("p < 0.001", "p = 0.041")
