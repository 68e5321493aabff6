import numpy as np

from aekit.brains.unlike import describe_unlike, group_texts, is_unlike, without_interval

SIZE, DARK = "voxel size 2 x 2 x 2 mm differs from that of the training scans (1 mm)", "intensities deviate 3.0 times"
REASONS = [[SIZE], [SIZE, DARK], [], [SIZE.replace("2 x", "3 x")]]


def test_every_reason_makes_a_scan_unlike_unless_the_reference_shares_it():
    assert is_unlike(REASONS, None).tolist() == [True, True, False, True]
    reference = np.array([True, False, False, False])
    assert is_unlike(REASONS, reference).tolist() == [False, True, False, False]
    assert is_unlike(REASONS, np.array([False, True, False, False])).tolist() == [False] * 4


def test_one_line_counts_the_scans_and_each_reason():
    line = describe_unlike(REASONS, is_unlike(REASONS, None), has_reference=False, has_intervals=True)
    assert line == (
        "3 of 4 scans are unlike those of the training: voxel size (3), intensities (1); * marks all ages, and no scan "
        "has intervals, as these are many; --reference recalibrates on controls of their scanner"
    )
    one = is_unlike(REASONS, np.array([True, False, False, False]))
    line = describe_unlike(REASONS, one, has_reference=True, has_intervals=True)
    assert line.startswith("1 of 4 scans is unlike those of the training and of the reference: intensities (1), voxel")
    assert line.endswith("* marks its age, and it has no intervals")
    nobody = np.zeros(4, bool)
    assert describe_unlike(REASONS, nobody, has_reference=False, has_intervals=True) == ""


def test_no_scan_has_an_interval_if_more_than_a_third_are_unlike_the_training():
    few, many = np.arange(9) < 3, np.arange(9) < 4
    assert without_interval(few).tolist() == few.tolist()
    assert without_interval(many).all()
    assert without_interval(np.zeros(0, bool)).tolist() == []
    line = describe_unlike([[SIZE]] * 4 + [[]] * 5, many, has_reference=False, has_intervals=True)
    assert "voxel size (4); * marks all ages, and no scan has intervals, as these are many; --reference" in line


def test_texts_that_differ_in_numbers_are_one():
    assert group_texts(["a 1.5", "a 2", "b"]) == [("a 1.5, or similar", 2), ("b", 1)]
