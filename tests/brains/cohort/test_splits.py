import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from aekit.brains.cohort.splits import SplitPlan, column_split, stratified_folds, stratified_split
from aekit.brains.cohort.table import Cohort
from aekit.errors import AekitError

FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}


@pytest.fixture(scope="module")
def people():
    """Return ages and sexes as skewed as in a real cohort of 466 participants."""
    rng = np.random.default_rng(0)
    ages = np.concatenate([rng.normal(11.5, 3, 144), rng.normal(22, 3.2, 219), rng.uniform(25, 80, 103)])
    return np.clip(ages, 6, 86), rng.choice(["F", "M"], 466)


def cohort(**columns):
    n = len(next(iter(columns.values())))
    table = pd.DataFrame({"participant_id": [f"sub-{i}" for i in range(n)], **columns})
    return Cohort("participants.tsv", table, (), pd.DataFrame())


def distance(splits, ages):
    return ks_2samp(ages[splits == "train"], ages[splits == "test"]).statistic


def test_splits_are_far_more_alike_in_age_and_sex_than_random_ones(people):
    ages, sexes = people
    rng = np.random.default_rng(1)
    drawn = [stratified_split(ages, sexes, fractions=FRACTIONS, seed=seed) for seed in range(20)]
    shuffled = [rng.permutation(splits) for splits in drawn]
    assert np.mean([distance(s, ages) for s in drawn]) < 0.5 * np.mean([distance(s, ages) for s in shuffled])
    share = np.mean(sexes == "F")
    for splits in drawn:
        assert np.mean(sexes[splits == "test"] == "F") == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("n", [10, 37, 181, 466])
def test_every_split_has_its_size_to_within_one_participant(people, n):
    ages, sexes = people[0][:n], people[1][:n]
    splits = stratified_split(ages, sexes, fractions=FRACTIONS, seed=3)
    for name, fraction in FRACTIONS.items():
        assert abs(np.sum(splits == name) - fraction * n) <= 1


def test_every_tenth_of_the_ages_has_its_share_of_test_people(people):
    ages, sexes = people
    tenth = np.searchsorted(np.quantile(ages, np.arange(1, 10) / 10), ages)
    splits = stratified_split(ages, sexes, fractions=FRACTIONS, seed=0)
    for number in range(10):
        n_participants = np.sum(tenth == number)
        assert abs(np.sum(splits[tenth == number] == "test") - 0.2 * n_participants) <= 3


def test_everyone_is_in_every_split_for_some_seed():
    ages, sexes = np.arange(20, 60), np.tile(["F", "M"], 20)
    drawn = np.stack([stratified_split(ages, sexes, fractions=FRACTIONS, seed=seed) for seed in range(200)])
    share_of_val = np.mean(drawn == "val", axis=0)  # 0.1, SD 0.021
    assert share_of_val.min() > 0.02
    assert share_of_val.max() < 0.2


def test_the_seed_alone_decides_whatever_the_order_of_the_table(people):
    ages, sexes = people
    splits = stratified_split(ages, sexes, fractions=FRACTIONS, seed=5)
    # Those clipped to the youngest age are alike, and equal participants may swap places.
    differs = np.array([np.sum((ages == age) & (sexes == sex)) == 1 for age, sex in zip(ages, sexes, strict=True)])
    order = np.random.default_rng(2).permutation(len(ages))
    again = stratified_split(ages[order], sexes[order], fractions=FRACTIONS, seed=5)
    assert differs.sum() > 400
    assert (again == splits[order])[differs[order]].all()
    assert (stratified_split(ages, sexes, fractions=FRACTIONS, seed=6) != splits).any()


def test_a_stratum_of_one_does_not_fail():
    ages, sexes = np.array([*range(20, 49), 85.0]), np.array(["M"] * 29 + ["F"])
    splits = stratified_split(ages, sexes, fractions=FRACTIONS, seed=0)
    assert [np.sum(splits == name) for name in FRACTIONS] == [21, 3, 6]


def test_participants_of_unknown_age_or_sex_are_assigned_too():
    ages = np.concatenate([np.full(100, np.nan), np.linspace(20, 80, 100)])
    sexes = np.array([np.nan, "M"] * 100, dtype=object)
    splits = stratified_split(ages, sexes, fractions=FRACTIONS, seed=0)
    for group in (np.isnan(ages), ~np.isnan(ages), sexes == "M", sexes != "M"):
        assert abs(np.sum(splits[group] == "test") - 20) <= 2


def test_unknown_ages_are_a_stratum_of_their_own():
    ages = np.array([30.0] * 100 + [np.nan] * 20)
    for seed in range(20):  # as a part of the others 4 of 20 would vary by 1.6
        splits = stratified_split(ages, np.full(120, "F"), fractions=FRACTIONS, seed=seed)
        assert abs(np.sum(splits[100:] == "test") - 4) <= 1


def test_a_small_split_gets_a_group_even_if_the_largest_could_use_all():
    sites = np.repeat(["A", "B", "C"], 10)
    fractions = {"train": 0.9, "val": 0.05, "test": 0.05}
    splits = stratified_split(np.arange(30.0), np.full(30, "F"), fractions=fractions, seed=0, groups=sites)
    assert [np.sum(splits == name) for name in fractions] == [10, 10, 10]


def test_nobody_knows_any_age():
    folds = stratified_folds(np.full(10, np.nan), np.full(10, np.nan, dtype=object), n_folds=5, seed=0)
    assert (np.bincount(folds) == 2).all()


def test_folds_are_of_one_size_and_alike_in_age(people):
    ages, sexes = people
    folds = stratified_folds(ages, sexes, n_folds=5, seed=0)
    assert set(np.bincount(folds)) == {93, 94}
    means = [ages[folds == fold].mean() for fold in range(5)]
    assert np.ptp(means) < 1.0  # years; random folds differ by 2.9 on average (SD of a mean 1.4)


def test_a_person_with_several_rows_is_in_one_split_only(people):
    ages, sexes = np.repeat(people[0], 2), np.repeat(people[1], 2)
    persons = np.repeat(np.arange(466), 2)
    splits = stratified_split(ages, sexes, fractions=FRACTIONS, seed=0, groups=persons)
    assert (splits[::2] == splits[1::2]).all()
    for name, fraction in FRACTIONS.items():
        assert abs(np.mean(splits == name) - fraction) < 0.01
    assert distance(splits, ages) < 0.1


def test_whole_sites_go_where_they_fit_best():
    sites = np.array(["Guys"] * 172 + ["HH"] * 95 + ["IOP"] * 24)
    ages = np.random.default_rng(0).uniform(40, 86, 291)
    splits = stratified_split(ages, np.full(291, "F"), fractions=FRACTIONS, seed=0, groups=sites)
    assert [set(sites[splits == name]) for name in FRACTIONS] == [{"Guys"}, {"IOP"}, {"HH"}]


def test_folds_of_many_sites_are_balanced(people):
    ages, sexes = people
    sites = np.random.default_rng(0).integers(0, 40, 466)
    folds = stratified_folds(ages, sexes, n_folds=5, seed=0, groups=sites)
    assert all(len(set(folds[sites == site])) == 1 for site in range(40))
    assert np.ptp(np.bincount(folds)) < 15


def test_participants_without_a_site_stay_together():
    sites = np.array(["A", "B", None, np.nan] * 10, dtype=object)
    folds = stratified_folds(np.arange(40.0), np.full(40, "F"), n_folds=3, seed=0, groups=sites)
    assert len(set(folds[2::4]) | set(folds[3::4])) == 1


@pytest.mark.parametrize(
    ("n", "groups", "message"),
    [
        (1, None, "--val and --test-split: 1 participant cannot fill 3 splits (train, val, test)"),
        (4, None, "--val 0.1: leaves none of 4 participants for val"),
        (9, ["A"] * 5 + ["B"] * 4, "--val and --test-split: 2 groups cannot fill 3 splits"),
    ],
)
def test_too_few_participants_for_the_splits_are_refused(n, groups, message):
    with pytest.raises(AekitError) as error:
        stratified_split(np.arange(20.0, 20 + n), np.full(n, "F"), fractions=FRACTIONS, seed=0, groups=groups)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("n", "n_folds", "groups", "message"),
    [
        (3, 5, None, "--cv: 3 participants cannot fill 5 folds; give at most --cv 3"),
        (9, 5, ["A"] * 5 + ["B"] * 4, "--cv: 2 groups cannot fill 5 folds; give at most --cv 2"),
        (1, 2, None, "--cv: 1 participant cannot fill 2 folds; use a larger table"),
        (9, 1, None, "--cv: 1 is too few"),
    ],
)
def test_too_few_participants_for_the_folds_are_refused(n, n_folds, groups, message):
    with pytest.raises(AekitError) as error:
        stratified_folds(np.arange(20.0, 20 + n), np.full(n, "F"), n_folds=n_folds, seed=0, groups=groups)
    assert str(error.value).startswith(message)


def test_a_split_of_zero_stays_empty():
    fractions = {"train": 0.5, "val": 0.0, "test": 0.5}
    splits = stratified_split(np.arange(20.0, 40), np.full(20, "F"), fractions=fractions, seed=0)
    assert (np.sum(splits == "train"), np.sum(splits == "test")) == (10, 10)


def test_fractions_that_do_not_add_up_are_a_bug():
    with pytest.raises(ValueError, match="add up to one"):
        stratified_split(np.arange(9.0), np.full(9, "F"), fractions={"train": 0.5, "test": 0.2}, seed=0)


def test_a_column_with_splits_is_read_in_its_usual_spellings():
    table = cohort(fold=["Train", "training", "VALID", "validation", "dev", "Test", "heldout", " test "])
    assert list(column_split(table, "fold")) == ["train", "train", "val", "val", "val", "test", "test", "test"]


def test_everyone_with_an_unknown_split_is_named():
    table = cohort(split=["train", "holiday", np.nan, "test", "1"])
    with pytest.raises(AekitError) as error:
        column_split(table, "split")
    assert "sub-1 (holiday), sub-2 (missing), sub-4 (1)" in str(error.value)


def test_a_missing_split_column_is_answered_with_the_nearest():
    with pytest.raises(AekitError) as error:
        column_split(cohort(split=["train", "test"]), "splitt")
    assert str(error.value) == (
        "participants.tsv: has no column splitt (it has participant_id, split); did you mean 'split'?"
    )


def test_a_split_column_without_train_is_refused():
    with pytest.raises(AekitError, match="no participants in train"):
        column_split(cohort(split=["val", "test"]), "split")


@pytest.mark.parametrize(
    ("val", "test", "message"),
    [
        (0.6, 0.5, "--val and --test-split: 0.6 and 0.5 leave no participants for train"),
        (1.0, 0.0, "--val: 1 is not a fraction"),
        (0.1, -0.1, "--test-split: -0.1 is not a fraction"),
    ],
)
def test_a_plan_that_leaves_nobody_for_train_is_refused(val, test, message):
    with pytest.raises(AekitError, match=message):
        SplitPlan(val, test)


def test_a_plan_draws_the_stratified_split_of_a_cohort(people):
    ages, sexes = people
    table = cohort(age=ages, sex=sexes, site=np.arange(len(ages)) % 7)
    fractions = {"train": 1 - 0.1 - 0.3, "val": 0.1, "test": 0.3}
    expected = stratified_split(ages, sexes, fractions=fractions, seed=5)
    assert (SplitPlan(0.1, 0.3, seed=5).draw(table) == expected).all()
    grouped = SplitPlan(0.1, 0.3, seed=5, group="site").draw(table)
    assert all(len(set(grouped[table.table["site"] == site])) == 1 for site in range(7))
