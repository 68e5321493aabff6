from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded import Recorded
from sklearn.linear_model import LinearRegression

from aekit.brains.data import build_brain_data
from aekit.brains.members import Ensemble, predict_members
from aekit.brains.people import build_folds
from aekit.brains.predictions import AGE, BASELINES, iter_splits, predict_all
from aekit.brains.scores import metrics_table
from aekit.brains.training import build_network, fit_normalisation, stages_of
from aekit.brains.volumes.gridding import N_BINS

CPU = torch.device("cpu")
SIZE = {"size": (16, 16, 16), "spacing_mm": 12.0}
TARGETS = (AGE, "gmv_ml", "wmv_ml", "csfv_ml")


def ensemble_of(people, folds, config, n_seeds=1):
    """Return untrained networks: these tests are about which participants they predict, not how well."""
    data, found = build_brain_data(people, config.model.target), Ensemble()
    for fold in folds:
        normalisation = fit_normalisation(data, fold.train, log_age=config.model.log_age)
        for seed in range(n_seeds):
            torch.manual_seed(10 * fold.number + seed)
            found.networks[fold.number, seed] = {
                stage: build_network(stage, config, normalisation, N_BINS).eval() for stage in stages_of(config)
            }
    return found


def predict(people, config, *, n_seeds=1):
    folds = build_folds(people, config.data, config.model.target)
    ensemble = ensemble_of(people, folds, config, n_seeds)
    return folds, ensemble, predict_all(people, folds, ensemble, config, CPU)


def one(predictions, model, target, split):
    (found,) = [p for p in predictions if (p.model, p.target, p.split) == (model, target, split)]
    return found


def test_every_model_predicts_every_target_and_split_that_it_can(phantom_people, brain_config):
    _, _, found = predict(phantom_people, brain_config(direct=True, **SIZE))
    models = {(target, split): [p.model for p in parts] for (target, split), parts in iter_splits(found)}
    assert set(models) == {(target, split) for target in TARGETS for split in ("train", "val", "test")}
    for (target, _), names in models.items():
        blind = ("mean", "median", "ridge-voxels", "ridge-histogram", "volumes", "chain")
        assert names == ([*BASELINES, "volumes", "chain", "direct"] if target == AGE else list(blind))


def test_without_volumes_only_age_is_predicted(phantom_people, brain_config):
    _, _, found = predict(phantom_people, brain_config(target=None, direct=True, **SIZE))
    assert {p.target for p in found} == {AGE}
    assert list(dict.fromkeys(p.model for p in found)) == [
        "mean",
        "median",
        "ridge-voxels",
        "ridge-histogram",
        "ridge-tissues",
        "direct",
    ]


def test_proportions_have_targets_of_their_own(phantom_people, brain_config):
    _, _, found = predict(phantom_people, brain_config(target="proportion", **SIZE))
    parts = [one(found, "chain", f"{name}_fraction", "test") for name in ("gmv", "wmv", "csfv")]
    np.testing.assert_allclose(sum(part.truth for part in parts), 1)
    np.testing.assert_allclose(sum(part.prediction for part in parts), 1, rtol=1e-5)
    assert {p.target for p in found} == {AGE, *(part.target for part in parts)}


@pytest.mark.slow
def test_each_person_is_predicted_by_the_fold_that_was_not_trained_on_them(phantom_people, brain_config):
    config = brain_config(cv=3, val=0.0, test=0.0, direct=True, augment=("flip",), **SIZE)
    folds, ensemble, found = predict(phantom_people, config, n_seeds=2)
    assert {p.split for p in found} == {"cv"}
    data = build_brain_data(phantom_people, config.model.target)
    for part in found:
        assert part.rows.tolist() == list(range(40))
    for fold in folds:
        rows = fold.held_out["cv"]
        networks = [ensemble.networks[fold.number, seed] for seed in (0, 1)]
        predicted = predict_members(networks, data, rows, device=CPU, mirrored=True)
        direct = one(found, "direct", AGE, "cv")
        np.testing.assert_allclose(direct.prediction[rows], predicted.direct_age, rtol=1e-5)
        assert set(direct.fold[rows]) == {fold.number}
        wmv = one(found, "volumes", "wmv_ml", "cv")
        np.testing.assert_allclose(wmv.prediction[rows], predicted.tissues[:, 1], rtol=1e-5)
        np.testing.assert_allclose(one(found, "volumes", AGE, "cv").prediction[rows], predicted.age_of_truth, rtol=1e-5)
        np.testing.assert_allclose(one(found, "chain", AGE, "cv").prediction[rows], predicted.chain_age, rtol=1e-5)
        # Baselines, norms and the floor are of this fold's train people, too.
        ages, volumes = phantom_people.cohort.age_years, phantom_people.cohort.volumes_ml
        by_hand = LinearRegression().fit(volumes[fold.train], ages[fold.train]).predict(volumes[rows])
        np.testing.assert_allclose(one(found, "linear", AGE, "cv").prediction[rows], by_hand, rtol=1e-6)
        np.testing.assert_allclose(one(found, "median", AGE, "cv").prediction[rows], np.median(ages[fold.train]))
        np.testing.assert_allclose(direct.mean_prediction[rows], ages[fold.train].mean())
        np.testing.assert_allclose(direct.sd[rows], ages[fold.train].std())
        np.testing.assert_allclose(direct.truth[rows], ages[rows])


def test_test_participants_get_the_mean_of_all_folds(phantom_people, brain_config):
    config = brain_config(cv=2, val=0.0, test=0.25, direct=True, augment=(), **SIZE)
    folds, ensemble, found = predict(phantom_people, config)
    test = folds[0].held_out["test"]
    part = one(found, "direct", AGE, "test")
    assert part.rows.tolist() == test.tolist()
    assert set(part.fold) == {-1}
    data = build_brain_data(phantom_people, config.model.target)
    predicted = [
        predict_members([ensemble.networks[k, 0]], data, test, device=CPU, mirrored=False).direct_age for k in (0, 1)
    ]
    np.testing.assert_allclose(part.prediction, np.mean(predicted, axis=0), rtol=1e-5)
    means = [phantom_people.cohort.age_years[fold.train].mean() for fold in folds]
    np.testing.assert_allclose(part.mean_prediction, np.mean(means))
    np.testing.assert_allclose(one(found, "mean", AGE, "test").prediction, np.mean(means))
    np.testing.assert_allclose(part.truth, phantom_people.cohort.age_years[test])
    assert sorted([*one(found, "direct", AGE, "cv").rows, *test]) == list(range(40))


def test_baselines_never_see_the_targets_of_held_out_participants(phantom_people, brain_config):
    config = brain_config(**SIZE)
    _, _, before = predict(phantom_people, config)
    (fold,) = build_folds(phantom_people, config.data, "absolute")
    rows = np.concatenate(list(fold.held_out.values()))
    random = np.random.default_rng(0)
    folds, ensemble = [fold], ensemble_of(phantom_people, [fold], config)

    def with_others(columns):
        table = phantom_people.cohort.table.copy()
        for name in columns:
            table.loc[rows, name] = random.permutation(table.loc[rows, name].to_numpy()) * 1.1
        people = replace(phantom_people, cohort=replace(phantom_people.cohort, table=table))
        return predict_all(people, folds, ensemble, config, CPU)

    after = {(p.model, p.target, p.split): p for p in with_others(["age"])}
    for part in before:
        other = after[part.model, part.target, part.split]
        np.testing.assert_array_equal(part.prediction, other.prediction, err_msg=f"{part.model} {part.target}")
        np.testing.assert_array_equal(part.mean_prediction, other.mean_prediction)
        if part.target == AGE and part.split != "train":
            assert (part.truth != other.truth).any()
    for other in with_others(["gmv", "wmv", "csfv"]):  # here true volumes are what some models read
        if other.target != AGE or other.model not in ("linear", "gp", "volumes"):
            part = one(before, other.model, other.target, other.split)
            np.testing.assert_array_equal(part.prediction, other.prediction, err_msg=f"{part.model} {part.target}")


@pytest.mark.parametrize("data", [{}, {"cv": 3, "val": 0.0, "test": 0.2}])
def test_the_mean_of_train_has_a_skill_of_exactly_zero(phantom_people, brain_config, data):
    _, _, found = predict(phantom_people, brain_config(**data, **SIZE))
    table = metrics_table(found)
    means = table[table["model"] == "mean"]
    assert len(means) == (12 if not data else 8)
    assert means["skill"].tolist() == [0.0] * len(means)
    train = means[means["split"] == "train"]
    np.testing.assert_allclose(train["mse_z"], 1)
    np.testing.assert_allclose(train["r2"], 0, atol=1e-12)


@pytest.mark.parametrize("data", [{}, {"cv": 2, "val": 0.0, "test": 0.0}])
def test_dropped_outliers_are_a_split_of_their_own(phantom_people, brain_config, data):
    table = phantom_people.cohort.table.copy()
    config = brain_config(drop_outliers=True, **data, **SIZE)
    plain = build_folds(phantom_people, replace(config.data, drop_outliers=False), "absolute")
    row = int(plain[0].train[5])
    table.loc[row, "csfv"] *= 6
    people = replace(phantom_people, cohort=replace(phantom_people.cohort, table=table))
    folds, _, found = predict(people, config)
    assert row in folds[0].dropped
    dropped = one(found, "chain", AGE, "dropped")
    assert row in dropped.rows
    if data:  # by the fold that did not train on them, as all others
        cv = one(found, "chain", AGE, "cv")
        assert cv.rows.tolist() == list(range(40))
        assert dropped.prediction[dropped.rows == row] == cv.prediction[cv.rows == row]
    else:
        assert row not in one(found, "chain", AGE, "train").rows
        assert dropped.rows.tolist() == folds[0].dropped.tolist()


def test_participants_whose_age_was_clipped_are_counted_once_over_all_folds(phantom_people, brain_config):
    config = brain_config(cv=2, val=0.0, test=0.0, direct=True, **SIZE)
    folds = build_folds(phantom_people, config.data, config.model.target)
    ensemble, n = ensemble_of(phantom_people, folds, config), len(phantom_people.cohort)
    progress = Recorded()
    for stages in ensemble.networks.values():  # untrained ones may be off by any number of standard deviations
        for scale in (stages["age"].age, stages["chain"].age.age, stages["direct"].age):
            scale.sd.fill_(1.0)
    predict_all(phantom_people, folds, ensemble, config, CPU, progress)
    assert progress.notices == []
    for stages in ensemble.networks.values():
        stages["direct"].age.mean.fill_(-500.0)
    found = predict_all(phantom_people, folds, ensemble, config, CPU, progress)
    assert set(one(found, "direct", AGE, "cv").prediction) == {0.0}
    (notice,) = progress.notices
    assert notice.startswith(f"predicted ages outside 0 to 120 years were clipped, those of {n} of {n} participants: ")
