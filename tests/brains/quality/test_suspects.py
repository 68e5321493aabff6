from dataclasses import replace

import numpy as np
import pytest
from quality_cohort import N, gridded

from aekit.brains.cohort.phantom_damage import damage_scan
from aekit.brains.cohort.phantom_people import draw_person
from aekit.brains.quality.suspects import find_suspicions, local_spread, predict_crossed

PEOPLE = [draw_person(3, number) for number in range(N)]


@pytest.fixture
def cohort(cohort_of):
    """Return a function that makes the cohort of the phantoms with any columns replaced."""

    def make(**columns):
        known = {
            "participant_id": [one.participant_id for one in PEOPLE],
            "age": [one.age_years for one in PEOPLE],
            "sex": [one.sex for one in PEOPLE],
        }
        return cohort_of(**known | columns)

    return make


def test_a_clean_cohort_is_not_suspected_of_anything(cohort, clean):
    assert find_suspicions(cohort(), clean) == []


def test_one_scan_under_two_ids_is_found_with_noise_and_in_another_position(cohort, phantoms, with_scans):
    noisy = damage_scan("duplicate", phantoms[0], (8.0,) * 3, np.random.default_rng(0), other=phantoms[4])[0]
    shifted = np.roll(noisy, (1, -1, 1), (0, 1, 2))
    for other in (noisy, shifted):
        found = find_suspicions(cohort(), with_scans({30: other}))
        assert [(one.what, one.ids) for one in found] == [("same scan", ("sub-0005", "sub-0031"))]


def test_two_sessions_of_one_person_are_not_suspected_of_being_one_scan(cohort, phantoms, with_scans):
    noisy = damage_scan("duplicate", phantoms[0], (8.0,) * 3, np.random.default_rng(0), other=phantoms[4])[0]
    ids = [one.participant_id for one in PEOPLE]
    ids[4], ids[30] = "sub-0005_ses-1", "sub-0005_ses-2"
    assert find_suspicions(cohort(participant_id=ids), with_scans({30: noisy})) == []


def test_codes_of_sex_that_are_the_wrong_way_round_are_found(cohort, clean):
    sex = np.array([one.sex for one in PEOPLE])
    scaled = replace(clean, brain_ml=np.where(sex == "M", 1450.0, 1270.0) + np.random.default_rng(0).normal(0, 100, N))
    assert find_suspicions(cohort(), scaled) == []
    (found,) = find_suspicions(cohort(sex=np.where(sex == "M", "F", "M")), scaled)
    assert found.what == "sex"
    assert "larger than those of men" in found.text


@pytest.fixture(scope="module")
def ageing():
    """Return scans of 120 people whose intensities darken steadily with age, and their ages."""
    random = np.random.default_rng(5)
    ages = random.uniform(20, 80, 120)
    bins = np.arange(64)
    middle = 45 - 0.25 * (ages - 20) + random.normal(0, 0.7, 120)
    histograms = 1300 * np.exp(-0.5 * ((bins - middle[:, None]) / 6) ** 2)
    histograms *= 1300 / histograms.sum(axis=1, keepdims=True)
    few = gridded([np.pad(random.uniform(1, 2, (6, 6, 6)), 9).astype(np.float32) for _ in range(120)])
    return replace(few, histograms_ml=histograms.astype(np.float32), brain_ml=np.full(120, 1300.0)), ages


def test_two_swapped_ages_are_found_as_a_pair_and_a_single_wrong_one_alone(ageing, cohort_of):
    volumes, ages = ageing
    ids = [f"p{number:03}" for number in range(120)]
    assert [one for one in find_suspicions(cohort_of(participant_id=ids, age=ages), volumes) if one.what == "age"] == []
    young, old, wrong = int(ages.argmin()), int(ages.argmax()), 17
    changed = ages.copy()
    changed[young], changed[old] = ages[old], ages[young]
    changed[wrong] = ages[wrong] + (45 if ages[wrong] < 50 else -45)
    found = [one for one in find_suspicions(cohort_of(participant_id=ids, age=changed), volumes) if one.what == "age"]
    assert {frozenset(one.ids) for one in found} == {frozenset({ids[young], ids[old]}), frozenset({ids[wrong]})}
    assert "swapped" in found[0].text


def test_a_prediction_does_not_know_the_value_of_its_own_participant():
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 3))
    y = x @ [1.0, 2.0, -1.0] + random.normal(0, 0.1, 60)
    before = predict_crossed(x, y)
    y[7] += 100
    after = predict_crossed(x, y)
    assert after[7] == pytest.approx(before[7], abs=0.1)
    np.testing.assert_allclose(after, before, atol=0.3)


def test_the_spread_of_errors_follows_the_prediction():
    random = np.random.default_rng(0)
    at = np.sort(random.uniform(10, 80, 400))
    spread = local_spread(random.normal(0, 0.1 * at), at)
    assert spread[:100].mean() < 0.6 * spread[-100:].mean()
    assert spread[-100:].mean() == pytest.approx(0.1 * at[-100:].mean(), rel=0.25)
