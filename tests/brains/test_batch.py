import json
from functools import cache

import numpy as np
import pytest

from aekit.brains.batch import Batchmates, compare_batch, describe_batch, describe_shift
from aekit.brains.volumes.gridding import N_BINS, TOP
from aekit.errors import AekitError

CENTRES = (np.arange(N_BINS) + 0.5) * TOP / N_BINS


def cohort(n, *, seed, ages=(20, 85), contrast=1.0, sexes=("F", "M")):
    """Return histograms of n scans and who is in them; age moves volume between three peaks, contrast moves two."""
    random = np.random.default_rng(seed)
    age, sex = random.uniform(*ages, n), random.choice(np.array(sexes, object), n)
    fluid = 0.12 + 0.002 * (age - 20) + 0.00003 * (age - 50) ** 2 + 0.02 * random.standard_normal(n)
    grey = 0.50 - 0.0015 * (age - 20) + 0.01 * (sex == "F") + 0.015 * random.standard_normal(n)
    shares = np.column_stack([fluid, grey, 1 - fluid - grey])
    histograms = np.zeros((n, N_BINS))
    for share, peak, power in zip(shares.T, (0.35, 0.63, 0.77), (contrast, contrast, 1.0), strict=True):
        middle = peak * power * np.exp(0.02 * random.standard_normal(n))
        width = 0.05 * np.exp(0.1 * random.standard_normal(n))
        bumps = np.exp(-0.5 * ((CENTRES - middle[:, None]) / width[:, None]) ** 2)
        histograms += 1400 * share[:, None] * bumps / bumps.sum(1, keepdims=True)
    return histograms, Batchmates(age, sex, shares)


@cache
def stored(seed=1):
    histograms, people = cohort(120, seed=seed)
    return json.loads(json.dumps(describe_batch(histograms, people)))


TRAININGS = range(100, 112)  # the error of one mean of the training is in all of its comparisons


def rate(of, n, n_batches=3, **options):
    """Return the fraction of batches that are called another scanner's."""
    found = [
        compare_batch(one, cohort(n, seed=[7, place, seed], **options)[0], "x").is_other
        for place, one in enumerate(of)
        for seed in range(n_batches)
    ]
    return np.mean(found)


@pytest.mark.parametrize("options", [{}, {"ages": (75, 85)}, {"ages": (20, 28)}, {"sexes": ("F",)}, {"sexes": ("M",)}])
@pytest.mark.parametrize("n", [8, 30])
def test_scans_of_the_same_scanner_are_not_called_another_whoever_is_in_them(n, options):
    assert rate(map(stored, TRAININGS), n, **options) <= 1 / 36


def test_a_contrast_that_differs_by_four_percent_is_found_in_twenty_scans_of_any_age():
    assert rate(map(stored, TRAININGS), 20, contrast=0.96) == 1
    assert rate(map(stored, TRAININGS), 20, contrast=0.96, ages=(70, 85)) >= 0.95
    assert rate(map(stored, TRAININGS), 8, contrast=0.94) >= 0.8


def test_the_p_of_a_batch_of_the_same_kind_of_people_is_uniform():
    p = np.array([compare_batch(stored(seed), cohort(25, seed=[8, seed])[0], "x").p for seed in range(100, 160)])
    assert 0.35 < np.median(p) < 0.75
    assert np.mean(p < 0.1) < 0.2


def test_fewer_than_eight_scans_and_older_checkpoints_have_no_test():
    histograms, people = cohort(60, seed=2)
    assert compare_batch(stored(), histograms[:7], "x") is None
    assert compare_batch(None, histograms, "x") is None
    assert compare_batch({}, histograms, "x") is None
    assert describe_batch(histograms[:20], people.take(np.arange(20))) == {}


def test_one_broken_scan_does_not_make_another_scanner():
    histograms, _ = cohort(20, seed=3)
    histograms[4] = 0
    histograms[4, -1] = 1400
    assert not compare_batch(stored(), histograms, "x").is_other


def test_scans_of_one_of_the_sites_of_the_training_are_not_of_another_scanner():
    parts = [cohort(50, seed=seed, contrast=contrast) for seed, contrast in ((4, 1.0), (5, 0.9), (6, 1.1))]
    people = Batchmates(
        np.concatenate([part.age_years for _, part in parts]),
        np.concatenate([part.sex for _, part in parts]),
        np.concatenate([part.proportions for _, part in parts]),
        np.repeat(np.array(["a", "b", "c"], object), 50),
    )
    of = describe_batch(np.concatenate([histograms for histograms, _ in parts]), people)
    assert len(of["centres"]) == 3
    for contrast in (1.0, 0.9, 1.1):
        assert rate([of], 20, 20, contrast=contrast) <= 1 / 20
    assert rate([of], 20, 20, contrast=0.95) == 1
    held_out = describe_batch(
        np.concatenate([histograms for histograms, _ in parts]),
        Batchmates(people.age_years, people.sex, people.proportions, people.site, is_held_out=True),
    )
    # Errors at sites that no model had seen include shifts of this size.
    assert rate([held_out], 20, 20, contrast=0.95) == 0
    assert rate([held_out], 20, 20, contrast=0.7) == 1


def test_one_line_says_how_far_and_what_to_do():
    found = compare_batch(stored(), cohort(20, seed=9, contrast=0.9)[0], "x")
    text = describe_shift(found, has_reference=False, has_intervals=True)
    assert text.startswith(f"another scanner: the 20 scans together differ from the training by {found.shift:.1f} SDs")
    assert "none has intervals" in text
    assert "--reference" in text
    assert "recalibrated" in describe_shift(found, has_reference=True, has_intervals=True)
    assert found.to_dict()["other_scanner"] is True
    same = compare_batch(stored(), cohort(20, seed=10)[0], "x")
    assert describe_shift(same, has_reference=False, has_intervals=True) == ""


@pytest.mark.parametrize("damage", [{"weights": [[1.0]]}, {"numbers": []}, {"degrees": 1}, {"centres": [[0.0]]}])
def test_what_is_damaged_is_refused(damage):
    with pytest.raises(AekitError, match="header is damaged"):
        compare_batch(stored() | damage, cohort(9, seed=0)[0], "x.safetensors")
