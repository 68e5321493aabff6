import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aekit.brains.measures.regression import paired_difference
from aekit.brains.tabular import models as model_module
from aekit.brains.tabular.preparation import gather_features
from aekit.brains.tabular.training import corrected_features, describe_combat, predict_everyone, train_folds
from aekit.core.progress import SILENT
from aekit.errors import AekitError


@pytest.fixture
def train(cohort_from):
    """Return a function that trains on a table, and returns its participants, models and predictions by model."""

    def run(table, config, split="cv"):
        found = gather_features(cohort_from(table), config, SILENT)
        fitted = train_folds(found, config, SILENT)
        parts = predict_everyone(found, fitted, config, SILENT)
        return found, fitted, {part.model: part for part in parts if part.split == split}

    return run


def test_a_planted_trend_is_found_by_all_models_and_their_errors_are_those_of_scikit_learn(
    table_of, config_of, train, monkeypatch
):
    penalties = np.logspace(-3, 2, 11)
    monkeypatch.setattr(model_module, "PENALTIES", penalties)
    found, _, parts = train(table_of(120), config_of(cv=4))
    for name in ("ridge-features", "gp-features", "stack"):
        assert np.abs(parts[name].prediction - parts[name].truth).mean() < 6
    expected = np.empty(120)
    for fold in found.folds:
        rows = fold.held_out["cv"]
        theirs = make_pipeline(StandardScaler(), RidgeCV(penalties * len(fold.train)))
        theirs.fit(found.own.features[fold.train], found.own.age_years[fold.train])
        expected[rows] = theirs.predict(found.own.features[rows])
    np.testing.assert_allclose(parts["ridge-features"].prediction, np.clip(expected, 0, 120), rtol=1e-7)


@pytest.mark.parametrize("combat", [False, True])
def test_random_features_are_not_better_than_the_mean(table_of, config_of, train, combat):
    table = table_of(150, slope=0.0, sites=("A", "B"), shift={"B": 3.0}, seed=4)
    _, _, parts = train(table, config_of(cv=5, combat=combat))
    for name in ("ridge-features", "gp-features", "stack"):
        difference = paired_difference(parts[name].truth, parts[name].prediction, parts["mean"].prediction)
        assert difference.high >= 0
        assert difference.difference > -0.5


@pytest.mark.parametrize("combat", [False, True])
def test_what_is_known_of_a_held_out_participant_changes_the_prediction_of_nobody_else(
    table_of, config_of, train, combat
):
    table = table_of(60, sites=("A", "B"), shift={"B": 2.0})
    table["split"] = np.where(np.arange(60) % 3 == 0, "test", "train")
    config = config_of(combat=combat, test="split", val=0.0)
    _, _, before = train(table, config, split="test")
    changed = table.copy()
    changed.loc[0, "age"] = 25.25
    changed.loc[0, [f"roi_{number}" for number in range(8)]] += 30.0
    _, _, after = train(changed, config, split="test")
    for name in ("ridge-features", "gp-features"):
        assert np.array_equal(before[name].prediction[1:], after[name].prediction[1:])


@pytest.mark.parametrize("combat", [False, True])
def test_the_age_of_a_held_out_participant_never_enters_their_own_prediction(table_of, config_of, train, combat):
    table = table_of(60, sites=("A", "B"), shift={"B": 2.0})
    table["split"] = np.where(np.arange(60) % 3 == 0, "test", "train")
    config = config_of(combat=combat, test="split", val=0.0)
    _, _, before = train(table, config, split="test")
    changed = table.copy()
    tested = changed["split"] == "test"
    changed.loc[tested, "age"] = changed.loc[tested, "age"].to_numpy()[::-1]
    _, _, after = train(changed, config, split="test")
    for name in ("ridge-features", "gp-features"):
        assert np.array_equal(before[name].prediction, after[name].prediction)


@pytest.mark.slow
def test_combat_removes_a_planted_shift_within_sites(table_of, config_of, train):
    table = table_of(160, sites=("A", "B"), shift={"B": 6.0})
    errors, gaps = {}, {}
    for combat in (False, True):
        found, fitted, parts = train(table, config_of(cv=4, combat=combat))
        part = parts["ridge-features"]
        errors[combat] = np.abs(part.prediction - part.truth).mean()
        values = corrected_features(found, fitted) if combat else found.own.features
        is_b = table["site"].to_numpy() == "B"
        gaps[combat] = np.abs(values[is_b].mean(axis=0) - values[~is_b].mean(axis=0)).mean()
    _, _, clean = train(table_of(160, sites=("A", "B")), config_of(cv=4))
    without = clean["ridge-features"]
    assert errors[True] < errors[False]
    assert errors[True] < 1.1 * np.abs(without.prediction - without.truth).mean()
    assert gaps[False] > 5
    assert gaps[True] < 1


def test_sites_that_are_held_out_are_named_as_not_corrected(table_of, config_of, train):
    found, fitted, _ = train(table_of(90, sites=("A", "B", "C")), config_of(cv="site", combat=True))
    text = describe_combat(found, fitted)
    assert "90 participants not corrected, whose site was not in train: A (30), B (30), C (30)" in text


def test_participants_without_a_site_are_counted_and_predicted(table_of, config_of, train):
    table = table_of(90, sites=("A", "B"))
    table.loc[:3, "site"] = None
    found, fitted, parts = train(table, config_of(cv=3, combat=True))
    assert "4 without a site not corrected" in describe_combat(found, fitted)
    assert len(parts["ridge-features"].rows) == 90


def test_participants_without_a_feature_or_an_age_are_left_out_by_name(table_of, config_of, train):
    table = table_of(60)
    table.loc[4, "roi_2"] = np.nan
    table.loc[9, "age"] = np.nan
    found, _, parts = train(table, config_of(cv=3))
    assert len(parts["mean"].rows) == 58
    left = found.people.left_out.set_index("participant_id")["reason"].to_dict()
    assert left == {"p009": "no age", "p004": "no value of roi_2"}


def test_combat_needs_sites(table_of, config_of, train):
    with pytest.raises(AekitError, match=r"--combat: people\.csv has only site A; name the column with --site"):
        train(table_of(), config_of(cv=3, combat=True))


def test_the_same_seed_gives_the_same_predictions(table_of, config_of, train):
    first, second = (train(table_of(60), config_of(cv=3))[2] for _ in range(2))
    for name in first:
        assert np.array_equal(first[name].prediction, second[name].prediction)


def test_volumes_of_the_table_are_baselines_whether_they_are_features_or_not(table_of, config_of, train):
    table = table_of(60)
    random = np.random.default_rng(0)
    for name, mean in (("gmv", 600), ("wmv", 500), ("csfv", 300)):
        table[name] = (mean - table["age"] + random.normal(0, 10, 60)).round(2)
    _, fitted, parts = train(table, config_of(cv=3))
    assert {"linear", "gp"} <= parts.keys()
    assert fitted[0].ridge.weight.shape == (8,)
    table.loc[5, "wmv"] = np.nan
    _, _, parts = train(table, config_of(cv=3))
    assert "gp" not in parts
    assert len(parts["mean"].rows) == 60


def test_combat_that_would_remove_nothing_is_refused(table_of, config_of, train):
    table = table_of(30).assign(site=lambda t: t["participant_id"])
    with pytest.raises(AekitError, match="--combat: no train has two sites with two participants"):
        train(table, config_of(cv=3, combat=True))
