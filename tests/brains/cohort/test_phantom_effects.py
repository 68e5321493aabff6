import hashlib

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aekit.brains.cohort.phantom import run_phantom
from aekit.brains.cohort.phantom_effects import NO_EFFECTS, Effects, check_effects, draw_illness, draw_scanner
from aekit.brains.cohort.phantom_people import draw_person, draw_scan
from aekit.brains.cohort.phantom_volumes import build_phantom
from aekit.errors import UsageError

ILL = Effects(patients=0.3, group_years=5.0)


def test_a_cohort_without_effects_has_the_bytes_that_it_had_before_there_were_any(tmp_path):
    run_phantom(12, tmp_path / "p", 24, seed=3, jobs=1)
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in (tmp_path / "p").glob("*.*")}
    assert digests == {
        "participants.tsv": "bb26a58a4fe4504a",
        "qc.tsv": "d8a4c006ab378dbc",
        "dataset_description.json": "067686ece0072bff",
    }


def test_effects_change_nothing_in_anybody_else(tmp_path):
    run_phantom(10, tmp_path / "plain", 20, jobs=1)
    run_phantom(10, tmp_path / "ill", 20, jobs=1, effects=ILL)
    plain, ill = (pd.read_csv(tmp_path / name / "participants.tsv", sep="\t") for name in ("plain", "ill"))
    pd.testing.assert_frame_equal(plain[["age", "sex", "site", "file"]], ill[["age", "sex", "site", "file"]])
    same = [
        (tmp_path / "plain" / file).read_bytes() == (tmp_path / "ill" / file).read_bytes() for file in plain["file"]
    ]
    assert same == (ill["diagnosis"] == "control").tolist()
    assert 0 < sum(same) < 10


def test_the_brain_of_a_patient_is_that_of_someone_older():
    # The same draws at the age of the brain: volumes are those of the curves there, as for a control of that age.
    people = [draw_person(0, number, ILL) for number in range(3000)]
    patients = [person for person in people if person.illness.diagnosis == "patient"]
    assert len(patients) / 3000 == pytest.approx(0.3, abs=0.03)
    gaps = np.array([person.illness.gap_years for person in patients])
    assert (gaps.mean(), gaps.std()) == pytest.approx((5, 2), abs=0.2)
    old = [person for person in patients if person.age_years > 30]
    plain = [draw_person(0, int(person.participant_id[4:]) - 1) for person in old]
    fluid, before = (np.array([p.volumes_ml[2] / sum(p.volumes_ml) for p in group]) for group in (old, plain))
    assert (fluid > before).mean() > 0.97  # fluid grows with age; a gap may be below zero
    assert {person.illness.gap_years for person in people if person.illness.diagnosis == "control"} == {0.0}


def test_the_score_falls_with_the_gap_that_was_planted():
    ill = [draw_illness(1, number, ILL) for number in range(2000)]
    slope = stats.linregress([one.gap_years for one in ill], [one.score for one in ill])
    assert slope.slope == pytest.approx(-0.6, abs=0.06)
    assert slope.rvalue < -0.7
    none = [draw_illness(1, number, Effects(patients=0.3)) for number in range(2000)]
    scores = {name: [one.score for one in none if one.diagnosis == name] for name in ("control", "patient")}
    assert stats.ttest_ind(scores["control"], scores["patient"]).pvalue > 0.01
    assert [one.diagnosis for one in none] == [one.diagnosis for one in ill]


def test_scanners_of_sites_differ_by_what_was_asked_for():
    effects = Effects(site=1.0)
    scanners = [draw_scanner(seed, site, effects) for seed in range(300) for site in range(3)]
    contrasts = np.log([scanner.contrast for scanner in scanners])
    assert contrasts.std() == pytest.approx(0.05, rel=0.1)
    assert np.exp(np.log([scanner.gain for scanner in scanners]).std()) == pytest.approx(2, rel=0.1)
    assert np.log([scanner.bias for scanner in scanners]).std() == pytest.approx(0.3, rel=0.1)
    assert np.mean([scanner.blur_mm for scanner in scanners]) == pytest.approx(np.sqrt(2 / np.pi), rel=0.1)
    assert draw_scanner(0, 0, effects) != draw_scanner(0, 1, effects)
    assert draw_scanner(0, 0, NO_EFFECTS) == draw_scanner(5, 2, NO_EFFECTS)


def test_a_scanner_changes_intensities_and_never_the_anatomy():
    scanner = draw_scanner(0, 1, Effects(site=2.0))
    plain, other = (
        build_phantom((300, 200, 90), size=16, spacing_mm=12.0, seed=0, number=0, **more)
        for more in ({}, {"scanner": scanner})
    )
    np.testing.assert_array_equal(plain.labels, other.labels)
    assert (plain.data != other.data).mean() > 0.05
    scan, shifted = draw_scan(0, 0), draw_scan(0, 0, scanner)
    assert shifted.gain / scan.gain == pytest.approx(scanner.gain)
    assert shifted.rotation_deg == scan.rotation_deg


@pytest.mark.parametrize(
    ("patients", "years", "site", "option"),
    [
        (1.2, 5, 0, "--patients"),
        (0.0, 5, 0, "--group-effect"),
        (0.3, 90, 0, "--group-effect"),
        (None, 0, -1, "--site-effect"),
        (None, float("nan"), 0, "--group-effect"),
        (None, 0, float("nan"), "--site-effect"),
    ],
)
def test_effects_out_of_range_are_refused_by_option(patients, years, site, option):
    with pytest.raises(UsageError, match=option):
        check_effects(patients, years, site)


def test_an_effect_alone_is_planted_in_three_of_ten_and_the_name_says_what_was_planted(tmp_path):
    assert check_effects(None, 5, 0) == ILL
    assert check_effects(None, 0, 0) == NO_EFFECTS
    assert ILL.name == "-patients0.3-effect5"
    assert NO_EFFECTS.name == ""
