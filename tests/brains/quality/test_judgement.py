import json
from dataclasses import replace

import numpy as np
import pytest
from quality_cohort import gridded

from aekit.brains.cohort.phantom_damage import damage_scan
from aekit.brains.quality.judgement import (
    MIN_SCANS,
    judge_scans,
    read_standard,
    standard_to_header,
    standard_to_images,
)
from aekit.brains.volumes.store import take_rows

pytestmark = pytest.mark.slow  # each trains, draws or starts the program


def damaged(image, kind, number=0):
    return damage_scan(kind, image, (8.0,) * 3, np.random.default_rng(number))[0]


def test_no_scan_of_a_clean_cohort_is_doubtful(clean):
    judged = judge_scans(clean)
    assert judged.reasons == [""] * 40
    assert judged.score.max() < 1
    assert not judged.left_out(keep_outlying=False).any()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("inverted", "inverted"), ("cropped-top", "cropped at the top"),
        ("cropped-side", "cropped at the"), ("half-empty", "cropped"), ("constant", "hardly any contrast"),
        ("saturated", "hardly any contrast"), ("scalp", "a skull, or a wrong voxel size"), ("spikes", "too bright"),
        ("axes-swapped", "too tall from bottom to top"), ("eaten", ""),
    ],
)  # fmt: skip
def test_a_damaged_scan_is_doubtful_for_what_was_done_to_it(phantoms, with_scans, kind, reason):
    judged = judge_scans(with_scans({7: damaged(phantoms[7], kind)}))
    assert [row for row in range(40) if judged.reasons[row]] == [7]
    assert reason in judged.reasons[7]
    assert judged.score[7] > 1
    assert judged.order()[0] == 7


@pytest.mark.parametrize(("axis", "reason"), [(1, "turned back to front"), (2, "upside down")])
def test_a_turned_scan_is_doubtful_where_brains_have_two_different_ends(phantoms, axis, reason):
    flat = []
    for image in phantoms:
        inside = np.flatnonzero((image > 0).any(axis=tuple({0, 1, 2} - {axis})))
        cut = image.swapaxes(0, axis).copy()
        cut[: inside[4]] = 0
        flat.append(cut.swapaxes(0, axis))
    assert not any(judge_scans(gridded(flat)).reasons)
    flat[7] = np.flip(flat[7], axis).copy()
    judged = judge_scans(gridded(flat))
    assert [row for row in range(40) if judged.reasons[row]] == [7]
    assert reason in judged.reasons[7] or "cropped" in judged.reasons[7]


def test_a_bias_field_is_judged_only_where_it_was_fitted_to_the_scan_and_to_most_others(clean):
    usual = np.random.default_rng(0).normal(0.15, 0.02, 40)
    for fitted in (np.arange(40) < 3, np.arange(40) >= 3):  # of coarse files, some have too few voxels
        judged = judge_scans(replace(clean, field_size=np.where(fitted, usual, 0.0)))
        assert judged.reasons == [""] * 40
    strong = usual.copy()
    strong[5] = 0.6
    judged = judge_scans(replace(clean, field_size=strong))
    assert [row for row in range(40) if judged.reasons[row]] == [5]
    assert "brightness changes" in judged.reasons[5]


def test_four_broken_scans_of_the_same_kind_do_not_hide_each_other(phantoms, with_scans):
    rows = (3, 12, 25, 31)
    for kind in ("inverted", "cropped-top", "scalp"):
        judged = judge_scans(with_scans({row: damaged(phantoms[row], kind, row) for row in rows}))
        assert tuple(np.flatnonzero(judged.left_out(keep_outlying=False))) == rows, kind


def test_an_impossible_brain_is_left_out_whatever_the_options(phantoms, with_scans):
    found = with_scans({0: phantoms[0], 5: phantoms[5]}, {0: (0.8,) * 3, 5: (14.0,) * 3})
    judged = judge_scans(found)
    assert "mL is impossible" in judged.reasons[0]
    assert judged.reasons[5].startswith("a brain of 7,")
    for keep_outlying in (False, True):
        assert tuple(np.flatnonzero(judged.left_out(keep_outlying=keep_outlying))) == (0, 5)


def test_doubtful_scans_are_kept_when_that_is_asked_for(phantoms, with_scans):
    judged = judge_scans(with_scans({7: damaged(phantoms[7], "scalp")}))
    assert judged.reasons[7]
    assert not judged.left_out(keep_outlying=True).any()


def test_of_few_scans_only_the_impossible_are_judged(phantoms, with_scans):
    found = with_scans({0: damaged(phantoms[0], "scalp"), 1: phantoms[1]}, {1: (0.8,) * 3})
    judged = judge_scans(take_rows(found, np.arange(MIN_SCANS - 1)))
    assert judged.standard is None
    assert tuple(np.flatnonzero(judged.left_out(keep_outlying=False))) == (1,)
    assert np.isnan(judged.score).all()


def test_the_order_of_scans_does_not_matter(phantoms, with_scans):
    found = with_scans({7: damaged(phantoms[7], "eaten"), 9: damaged(phantoms[9], "half-empty")})
    order = np.random.default_rng(0).permutation(40)
    judged = judge_scans(take_rows(replace(found, images=found.images[:]), order))
    assert {int(order[row]) for row in np.flatnonzero(judged.left_out(keep_outlying=False))} == {7, 9}


def test_a_standard_survives_a_checkpoint_and_judges_new_scans_alike(phantoms, with_scans):
    found = with_scans({7: damaged(phantoms[7], "inverted"), 9: damaged(phantoms[9], "cropped-top")})
    judged = judge_scans(found)
    header = json.loads(json.dumps(standard_to_header(judged.standard)))
    again = read_standard(header, standard_to_images(judged.standard), (24,) * 3).judge(found)
    assert [bool(reason) for reason in again.reasons] == [bool(reason) for reason in judged.reasons]
    assert again.reasons[9] == judged.reasons[9]
    usual = judged.score < 1
    assert again.score[usual].max() < 1


def test_an_older_checkpoint_has_no_standard():
    assert read_standard(None, {}, (24,) * 3) is None


def test_a_damaged_standard_is_refused(clean):
    standard = judge_scans(clean).standard
    header, images = standard_to_header(standard), standard_to_images(standard)
    for broken in ({"centre": header["centre"][:-1]}, {"below": [0.0] * len(header["below"])}):
        with pytest.raises(ValueError, match="limits"):
            read_standard(header | broken, images, (24,) * 3)
    with pytest.raises(ValueError, match="sizes"):
        read_standard(header, images | {"quality.mask": images["quality.mask"][:-1]}, (24,) * 3)
    with pytest.raises(ValueError, match="sizes"):
        read_standard(header, images, (48, 24, 24))
    for broken in ({"limit": float("inf")}, {"fractions": [0.5]}, {"fractions": [float("nan")] * 64}):
        with pytest.raises(ValueError, match="finite"):
            read_standard(header | broken, images, (24,) * 3)
