import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded import Recorded
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score

from aekit.brains.cohort.table import read_cohort
from aekit.brains.config import CohortConfig, Source
from aekit.brains.data import BrainData, build_brain_data
from aekit.brains.networks import _penalties as penalties
from aekit.brains.people import gather_people
from aekit.brains.training import (
    Augmenter,
    EpochCounter,
    EpochRow,
    Member,
    TrainingSetup,
    build_network,
    fit_normalisation,
    init_network,
    init_seed,
    stages_of,
    train_stage,
)
from aekit.core.adamw import PlainAdamW
from aekit.core.progress import Silent
from aekit.core.schedule import learning_rate
from aekit.errors import AekitError, Stopped

CPU = torch.device("cpu")


class Stopping(Silent):
    """Progress that asks to stop after it was asked so many times."""

    def __init__(self, n_steps):
        self.n_steps, self.n_asked = n_steps, 0

    def should_stop(self):
        self.n_asked += 1
        return 2 if self.n_asked > self.n_steps else None


def member(n=24, n_held_out=6, *, fold=0, seed=0):
    return Member(fold, seed, np.arange(n - n_held_out), np.arange(n - n_held_out, n), "val" if n_held_out else "")


def trained(who, setup):
    """Return the networks of all stages and their history."""
    own, history = {}, []
    for stage in stages_of(setup.config):
        torch.manual_seed(init_seed(stage, who))
        network = init_network(stage, who, setup, own)
        history += train_stage(network, stage, who, setup)
        own[stage] = network
    return own, history


def weights(own):
    return {f"{stage}.{name}": value for stage, net in own.items() for name, value in net.state_dict().items()}


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


# --- normalisation ---


@pytest.mark.parametrize("log_age", [False, True])
def test_normalisation_has_means_and_sds_of_train_alone(toy, log_age):
    data, train = toy(), np.array([3, 5, 8, 13, 21])
    found = fit_normalisation(data, train, log_age=log_age)
    ages = data.age_years.numpy()[train].astype(float)
    ages = np.log(ages) if log_age else ages
    np.testing.assert_allclose([found.age_mean, found.age_sd], [ages.mean(), ages.std()], rtol=1e-5)
    np.testing.assert_allclose(found.tissue_mean, data.tissues.numpy()[train].mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.tissue_sd, data.tissues.numpy()[train].std(0), rtol=1e-5)
    cumulative = data.cumulative_ml.numpy()[train]
    np.testing.assert_allclose(found.cumulative_mean, cumulative.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.cumulative_sd, np.sqrt(cumulative.var(0).mean()), rtol=1e-5)


def test_equal_ages_or_volumes_are_an_error(toy):
    data = replace(toy(), age_years=torch.full((24,), 30.0))
    with pytest.raises(AekitError, match="of one age"):
        fit_normalisation(data, np.arange(12), log_age=False)
    data = toy()
    data.tissues[:, 1] = 500
    with pytest.raises(AekitError, match="same volumes"):
        fit_normalisation(data, np.arange(12), log_age=False)


@pytest.mark.filterwarnings("error")
def test_without_volumes_only_age_is_normalised(toy):
    data = replace(toy(), tissues=torch.empty(24, 0))
    assert fit_normalisation(data, np.arange(12), log_age=False).tissue_mean.shape == (0,)


# --- initial weights ---


@pytest.mark.parametrize("target", ["absolute", "proportion"])
@pytest.mark.parametrize("log_age", [False, True])
def test_networks_start_as_the_ridge_regression_on_the_histogram(toy, brain_config, target, log_age):
    data = toy(40)
    if target == "proportion":
        data = replace(data, tissues=data.tissues / data.tissues.sum(1, keepdim=True))
    config = brain_config(target=target, log_age=log_age, direct=True)
    setup, who = TrainingSetup(config, data, CPU, "fp32"), member(40, 10)
    x = data.cumulative_ml.numpy().astype(float)
    alphas = penalties(torch.from_numpy(np.linalg.svd(x[:30] - x[:30].mean(0), compute_uv=False)))
    batch = data.take(torch.arange(40), CPU)

    tissues = data.tissues.numpy().astype(float)
    y = np.log(tissues) if target == "proportion" else tissues
    said = RidgeCV(alphas, alpha_per_target=True).fit(x[:30], y[:30]).predict(x)
    if target == "proportion":
        said = np.exp(said) / np.exp(said).sum(1, keepdims=True)
    network = init_network("volumes", who, setup, {}).eval()
    np.testing.assert_allclose(network(*batch[:2]).detach(), said, rtol=2e-4)

    ages = data.age_years.numpy().astype(float)
    model = RidgeCV(alphas).fit(x[:30], np.log(ages[:30]) if log_age else ages[:30])
    said = np.exp(model.predict(x)) if log_age else model.predict(x)
    network = init_network("direct", who, setup, {}).eval()
    np.testing.assert_allclose(network(*batch[:2]).detach(), said, rtol=2e-4)


@pytest.mark.parametrize("log_age", [False, True])
def test_a_network_with_bins_of_age_starts_as_the_ridge_regression_but_for_the_ends_of_its_bins(
    toy, brain_config, log_age
):
    data = toy(40)
    found = {}
    for arch in ("strided", "sfcn"):
        config = brain_config(arch=arch, target=None, direct=True, log_age=log_age)
        network = init_network("direct", member(40, 10), TrainingSetup(config, data, CPU, "fp32"), {}).eval()
        found[arch] = network(*data.take(torch.arange(40), CPU)[:2]).detach()
    low, high = data.age_years[:30].min(), data.age_years[:30].max()
    inside = (found["strided"] > low) & (found["strided"] < high)
    assert int(inside.sum()) > 20
    torch.testing.assert_close(found["sfcn"][inside], found["strided"][inside], rtol=0.01, atol=0)


@pytest.mark.parametrize("log_age", [False, True])
def test_without_a_histogram_a_network_with_bins_starts_near_the_mean_age(toy, brain_config, log_age):
    data = toy(40)
    config = brain_config(arch="sfcn", target=None, direct=True, histogram=False, log_age=log_age)
    torch.manual_seed(0)
    network = init_network("direct", member(40, 10), TrainingSetup(config, data, CPU, "fp32"), {}).eval()
    network.net.head.weight.data.zero_()
    found = network(*data.take(torch.arange(40), CPU)[:2]).detach()
    ages = data.age_years[:30]
    mean, sd = (ages.log().mean().exp() if log_age else ages.mean()), ages.std()
    assert float((found - mean).abs().max()) < 0.15 * float(sd)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_bins_of_age_learn_from_the_image_what_predicts_new_people_better_than_the_mean(toy, brain_config, precision):
    data = toy(60)
    # Ages follow from how bright an image is, and from nothing else.
    brightness = data.images.astype(np.float32).mean((1, 2, 3))
    z = (brightness - brightness.mean()) / brightness.std()
    data = replace(data, age_years=torch.from_numpy(50 + 12 * z))
    config = brain_config(arch="sfcn", target=None, direct=True, histogram=False, epochs=12, lr=3e-3, augment=())
    setup, who = TrainingSetup(config, data, CPU, precision), member(60, 20)
    torch.manual_seed(0)
    network = init_network("direct", who, setup, {})
    history = train_stage(network, "direct", who, setup)
    batch = data.take(torch.from_numpy(who.held_out), CPU)
    with torch.no_grad():
        error = float((network(*batch[:2]) - batch.age_years).abs().mean())
    floor = float((data.age_years[:40].mean() - batch.age_years).abs().mean())
    assert error < 0.7 * floor
    assert history[-1].loss == pytest.approx(float(network.loss(batch).detach()), rel=1e-4)


@pytest.mark.slow
def test_dropout_follows_from_the_seed_and_the_epoch_and_from_nothing_else(toy, brain_config):
    setup = TrainingSetup(brain_config(arch="sfcn", target=None, direct=True), toy(), CPU, "fp32")
    found = []
    for noise in (1, 2):
        torch.manual_seed(0)
        network = init_network("direct", member(), setup, {})
        torch.manual_seed(noise)
        train_stage(network, "direct", member(), setup)
        found.append(weights({"direct": network}))
    assert_same(*found)


def test_volumes_of_sfcn_are_learned_without_dropout(toy, brain_config):
    normalisation = fit_normalisation(toy(), np.arange(9), log_age=False)
    config = brain_config(arch="sfcn", direct=True)
    fractions = {
        stage: build_network(stage, config, normalisation, 12).net.dropout.fraction for stage in ("volumes", "direct")
    }
    assert fractions == {"volumes": 0.0, "direct": 0.5}
    assert build_network("direct", brain_config(), normalisation, 12).net.dropout.fraction == 0.0


def test_the_chain_starts_as_its_halves_and_leaves_them_as_they_were(toy, brain_config):
    setup, who, data = TrainingSetup(brain_config(lr=0.01), toy(), CPU, "fp32"), member(), toy()
    before = {}
    for stage in ("volumes", "age"):
        before[stage] = init_network(stage, who, setup, before)
        train_stage(before[stage], stage, who, setup)
    kept = {name: value.clone() for name, value in weights(before).items()}
    chain = init_network("chain", who, setup, before).eval()
    batch = data.take(torch.arange(24), CPU)
    tissues, ages = chain(*batch[:2])
    assert torch.equal(tissues, before["volumes"](*batch[:2]))
    assert torch.equal(ages, before["age"](tissues))
    train_stage(chain, "chain", who, setup)
    assert_same(weights(before), kept)
    assert not torch.equal(chain(*batch[:2])[0], tissues)


def test_every_member_and_stage_starts_from_a_seed_of_its_own():
    seeds = {
        init_seed(stage, member(fold=fold, seed=seed))
        for stage in ("volumes", "age", "chain", "direct")
        for fold in range(5)
        for seed in range(5)
    }
    assert len(seeds) == 100


@pytest.mark.parametrize(
    ("model", "stages"),
    [
        ({"target": "absolute"}, ("volumes", "age", "chain")),
        ({"target": "proportion", "direct": True}, ("volumes", "age", "chain", "direct")),
        ({"target": None, "direct": True}, ("direct",)),
    ],
)
def test_what_is_trained_follows_from_the_configuration(brain_config, model, stages):
    assert stages_of(brain_config(**model)) == stages


@pytest.mark.parametrize(
    ("arch", "given", "expected"),
    [
        ("strided", {}, True),
        ("base", {}, True),
        ("deep", {}, True),
        ("sfcn", {}, True),
        ("strided", {"histogram": False}, False),
        ("base", {"histogram": False}, False),
    ],
)
def test_every_architecture_has_a_histogram_input_unless_switched_off(toy, brain_config, arch, given, expected):
    config = brain_config(arch=arch, size=(12, 12, 12), **given)
    network = build_network("volumes", config, fit_normalisation(toy(), np.arange(9), log_age=False), 12)
    assert (network.net.histogram_head is not None) is expected


# --- the loop ---


@pytest.mark.slow
def test_held_out_participants_do_not_change_the_networks(toy, brain_config):
    data = toy()
    other = BrainData(data.images.copy(), data.cumulative_ml.clone(), data.tissues.clone(), data.age_years.clone())
    other.images[18:] *= 0.5
    other.cumulative_ml[18:] += 100
    other.tissues[18:] *= 2
    other.age_years[18:] += 30
    config = brain_config(direct=True)
    first, history = trained(member(), TrainingSetup(config, data, CPU, "fp32"))
    second, others = trained(member(), TrainingSetup(config, other, CPU, "fp32"))
    assert_same(weights(first), weights(second))
    is_train = [row.split == "train" for row in history]
    assert [row for row in history if row.split == "train"] == [row for row in others if row.split == "train"]
    assert not all(is_train)
    assert all(a.loss != b.loss for a, b in zip(history, others, strict=True) if a.split == "val")
    alone, _ = trained(
        replace(member(), held_out=np.empty(0, np.int64), held_out_split=""), TrainingSetup(config, data, CPU, "fp32")
    )
    assert_same(weights(first), weights(alone))


@pytest.mark.slow
def test_a_train_participant_does_change_the_networks(toy, brain_config):
    data = toy()
    first, _ = trained(member(), TrainingSetup(brain_config(), data, CPU, "fp32"))
    data.age_years[3] += 5
    second, _ = trained(member(), TrainingSetup(brain_config(), data, CPU, "fp32"))
    changed = {name for name, value in weights(first).items() if not torch.equal(value, weights(second)[name])}
    assert {name.split(".")[0] for name in changed} == {"age", "chain"}


def test_the_history_ends_with_the_loss_that_the_network_has(toy, brain_config):
    setup, who = TrainingSetup(brain_config(epochs=3, arch="base", augment=()), toy(), CPU, "fp32"), member()
    torch.manual_seed(0)
    network = init_network("volumes", who, setup, {})
    history = train_stage(network, "volumes", who, setup)
    assert [(row.epoch, row.split) for row in history] == [(e, s) for e in (1, 2, 3) for s in ("train", "val")]
    batch = setup.data.take(torch.from_numpy(who.held_out), CPU)
    with torch.no_grad():
        z = (network(*batch[:2]) - batch.tissues) / network.sd
    assert history[-1].loss == pytest.approx(float((z**2).mean()), rel=1e-5)
    assert isinstance(history[0], EpochRow)
    assert not network.training


def test_every_train_participant_is_seen_once_per_epoch_and_nobody_else(toy, brain_config, monkeypatch):
    shown = []
    take = BrainData.take

    def watched(self, rows, device, *, with_images=True):
        shown.append(rows.tolist())
        return take(self, rows, device, with_images=with_images)

    who = replace(member(), held_out=np.empty(0, np.int64), train=np.array([1, 2, 4, 7, 9, 11, 12, 15, 16, 20, 23]))
    setup = TrainingSetup(brain_config(epochs=3, batch_size=4), toy(), CPU, "fp32")
    network = init_network("volumes", who, setup, {})
    monkeypatch.setattr(BrainData, "take", watched)
    train_stage(network, "volumes", who, setup)
    assert [len(rows) for rows in shown] == [6, 5] * 3  # never fewer than a batch, as batch norm needs several
    epochs = [shown[k] + shown[k + 1] for k in (0, 2, 4)]
    assert all(sorted(epoch) == who.train.tolist() for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_learning_rate_rises_for_a_tenth_and_falls_along_a_cosine(toy, brain_config, monkeypatch):
    rates = []
    step = PlainAdamW.step

    def watched(self, lr):
        rates.append(lr)
        step(self, lr)

    monkeypatch.setattr(PlainAdamW, "step", watched)
    setup, who = TrainingSetup(brain_config(epochs=10, lr=0.02, batch_size=9), toy(), CPU, "fp32"), member()
    own = {}
    for stage in ("volumes", "age", "chain"):
        own[stage] = init_network(stage, who, setup, own)
    train_stage(own["volumes"], "volumes", who, setup)
    train_stage(own["chain"], "chain", who, setup)
    volumes, chain = rates[:20], rates[20:]  # two batches an epoch
    assert volumes[0] == pytest.approx(0.01 * 0.02)
    assert volumes[1] == pytest.approx((0.01 + 0.99 * 0.5) * 0.02)
    assert volumes[2] == pytest.approx(0.02)
    assert volumes[11] == pytest.approx(0.01)  # halfway down: (11 / 20 - .1) / .9 = 1 / 2
    assert all(np.diff(volumes[2:]) < 0)
    assert volumes[-1] < 0.01 * 0.02
    assert len(chain) == 10  # half as many epochs, a third of the rate
    # Too few steps for a warm-up, so each takes the rate at its middle, and the highest is not quite at the peak.
    assert max(chain) == pytest.approx(learning_rate(0.02 / 3, "one-cycle", 0.15))


def test_the_age_network_never_reads_an_image(toy, brain_config):
    data = replace(toy(), images=None)
    setup = TrainingSetup(brain_config(), data, CPU, "fp32")
    network = init_network("age", member(), setup, {})
    history = train_stage(network, "age", member(), setup)
    assert history[-1].epoch == 200  # of 18 people: one batch an epoch
    truth = data.age_years[:18].numpy()
    said = network(data.tissues[:18]).detach().numpy()
    assert r2_score(truth, said) > 0.9


@pytest.mark.parametrize("stage", ["volumes", "direct"])
def test_a_loss_that_is_not_a_number_is_an_error_that_names_the_learning_rate(toy, brain_config, stage):
    data = toy()
    data.images[5] = np.nan
    setup = TrainingSetup(brain_config(lr=0.25), data, CPU, "fp32")
    network = init_network(stage, member(), setup, {})
    with pytest.raises(AekitError, match=rf"^loss: .*epoch 1 of {stage}; lower --lr \(now 0.25\)$"):
        train_stage(network, stage, member(), setup)


def test_an_excessive_learning_rate_is_an_error(toy, brain_config):
    setup = TrainingSetup(brain_config(lr=1e30, epochs=5, arch="base"), toy(), CPU, "fp32")
    network = init_network("volumes", member(), setup, {})
    with pytest.raises(AekitError, match="stopped being finite"):
        train_stage(network, "volumes", member(), setup)


def test_it_stops_after_the_step_that_is_running(toy, brain_config):
    progress = Stopping(3)
    setup = TrainingSetup(brain_config(epochs=50), toy(), CPU, "fp32", progress=progress)
    network = init_network("volumes", member(), setup, {})
    with pytest.raises(Stopped, match="continue with the same command and --resume") as stopped:
        train_stage(network, "volumes", member(), setup)
    assert stopped.value.signal_number == 2
    assert progress.n_asked == 4


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_in_either_precision_the_loss_falls_on_people_who_were_not_shown(toy, brain_config, precision):
    config = brain_config(epochs=15, lr=1e-2, augment=(), histogram=False)
    setup, who = TrainingSetup(config, toy(60), CPU, precision), member(60, 20)
    torch.manual_seed(0)
    network = init_network("volumes", who, setup, {})
    history = [row.loss for row in train_stage(network, "volumes", who, setup) if row.split == "val"]
    assert history[-1] < 0.95 * history[0]
    batch = setup.data.take(torch.from_numpy(who.held_out), CPU)
    grey = network(*batch[:2]).detach().numpy()[:, 0]  # of the three, images of the toy tell grey matter alone
    assert r2_score(batch.tissues.numpy()[:, 0], grey) > 0.6


def test_progress_counts_the_epochs_of_all_members_and_stages_as_one(brain_config):
    config, progress, who = brain_config(), Recorded(), member()
    counter = EpochCounter(2, config, ["volumes"], progress)  # stages take 1 + 0.05 + 0.5 of the time
    counter.count("volumes", who, 2, EpochRow("volumes", 0, 0, 1, "val", 0.5))
    assert progress.updates == [("training", round(1000 * 1.5 / 3.1), 1000)]
    assert progress.notices == []
    counter.count("volumes", who, 2, EpochRow("volumes", 0, 0, 2, "val", 0.25))
    assert progress.notices == ["seed 0: volumes, val loss 0.25"]
    counter.count("age", replace(who, held_out_split="cv"), 1, EpochRow("age", 0, 0, 1, "cv", 0.125))
    assert progress.notices[1:] == ["fold 1, seed 0: age, cv loss 0.125"]


# --- augmentation ---


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def heads(n=40, size=12):
    images = torch.zeros(n, 1, size, size, size)
    images[:, :, 3:-3, 3:-3, 3:-3] = torch.rand(n, 1, size - 6, size - 6, size - 6) + 0.1
    return images


def test_a_flip_mirrors_left_and_right_of_about_half():
    images = heads()
    changed = Augmenter(("flip",), 4.0)(images, generator())
    is_same = [torch.equal(a, b) for a, b in zip(changed, images, strict=True)]
    is_mirrored = [torch.equal(a, b.flip(1)) for a, b in zip(changed, images, strict=True)]
    assert all(a != b for a, b in zip(is_same, is_mirrored, strict=True))
    assert 10 < sum(is_mirrored) < 30


@pytest.mark.parametrize(("spacing_mm", "reach"), [(4.0, 1), (2.0, 2), (1.5, 3), (12.0, 1)])
def test_a_shift_moves_by_whole_voxels_and_no_farther_than_four_millimetres(spacing_mm, reach):
    images = heads(120)
    changed = Augmenter(("shift",), spacing_mm)(images, generator())
    steps = set()
    for before, after in zip(images[:, 0], changed[:, 0], strict=True):
        step = tuple(int(a) - 3 for a in torch.nonzero(after).amin(0))
        steps.add(step)
        assert torch.equal(torch.roll(before, step, (0, 1, 2)), after)  # nothing reaches the edge, so a roll is a move
    for axis in range(3):
        assert {step[axis] for step in steps} == set(range(-reach, reach + 1))


def test_what_a_shift_pushes_over_the_edge_does_not_come_in_on_the_other_side():
    images = torch.ones(60, 1, 5, 5, 5)
    changed = Augmenter(("shift",), 2.0)(images, generator())
    kept = {round(float(image.sum())) for image in changed}
    assert kept <= {a * b * c for a in (3, 4, 5) for b in (3, 4, 5) for c in (3, 4, 5)}
    assert min(kept) <= 48
    for image in changed[:, 0]:
        filled = torch.nonzero(image)
        box = filled.amax(0) - filled.amin(0) + 1
        assert int(box.prod()) == len(filled)  # one block: moved, and not wrapped


def test_nothing_zooms_the_brain_keeps_its_sum_and_number_of_voxels():
    images = heads()
    changed = Augmenter(("flip", "shift"), 2.0)(images, generator())
    torch.testing.assert_close(changed.sum((1, 2, 3, 4)), images.sum((1, 2, 3, 4)))
    assert torch.equal((changed > 0).sum((1, 2, 3, 4)), (images > 0).sum((1, 2, 3, 4)))


def test_gain_is_one_factor_an_image_of_five_percent():
    images = heads(400)
    changed = Augmenter(("gain",), 4.0)(images, generator())
    inside = images > 0
    factors = [(a[i] / b[i]) for a, b, i in zip(changed, images, inside, strict=True)]
    assert all(float(factor.max() - factor.min()) < 1e-5 for factor in factors)
    means = np.array([float(factor.mean()) for factor in factors])
    assert means.mean() == pytest.approx(1, abs=4 * 0.05 / math.sqrt(400))
    assert means.std() == pytest.approx(0.05, rel=0.15)
    assert not changed[~inside].any()


def test_noise_has_its_sd_within_the_brain_and_leaves_the_background_black():
    images = heads()
    changed = Augmenter(("noise",), 4.0)(images, generator())
    inside = images > 0
    noise = (changed - images)[inside]
    assert float(noise.std()) == pytest.approx(0.02, rel=0.05)
    assert float(noise.mean()) == pytest.approx(0, abs=0.001)
    assert not changed[~inside].any()


def test_without_augmentation_images_stay_as_they_are_and_the_seed_decides_the_rest():
    images = heads(6)
    assert torch.equal(Augmenter((), 4.0)(images, generator()), images)
    all_kinds = Augmenter(("flip", "shift", "gain", "noise"), 4.0)
    assert torch.equal(all_kinds(images, generator(1)), all_kinds(images, generator(1)))
    assert not torch.equal(all_kinds(images, generator(1)), all_kinds(images, generator(2)))
    before = images.clone()
    all_kinds(images, generator())
    assert torch.equal(images, before)


# --- phantoms ---


@pytest.mark.slow
def test_networks_learn_to_predict_held_out_phantoms(aekit, tmp_path, brain_config):
    folder = aekit("mri-phantom", "-n", 60, "--size", 24, "--jobs", 1, "-o", tmp_path / "phantom").paths[0]
    source = Source(folder / "participants.tsv", folder / "volumes")
    people = gather_people(
        read_cohort(source.table), source, CohortConfig(size=(24, 24, 24), spacing_mm=8.0), target="absolute", jobs=1
    )
    config = brain_config(direct=True, size=(24, 24, 24), spacing_mm=8.0, epochs=8)
    data, who = build_brain_data(people, "absolute"), member(60, 20)
    setup = TrainingSetup(config, data, CPU, "fp32")
    truth = data.take(torch.from_numpy(who.held_out), CPU)
    start = init_network("volumes", who, setup, {}).eval()
    own, _ = trained(who, setup)
    with torch.no_grad():
        tissues, ages = own["chain"](*truth[:2])
        for_volumes = [r2_score(truth.tissues, net(*truth[:2])) for net in (start, own["volumes"])]
        assert for_volumes[1] > max(for_volumes[0], 0.7)  # the image adds to what the histogram says
        assert min(r2_score(truth.tissues, tissues, multioutput="raw_values")) > 0.5
        assert r2_score(truth.age_years, own["direct"](*truth[:2])) > 0.4
        mean = float(data.age_years[who.train].mean())
        assert (ages - truth.age_years).abs().mean() < 0.8 * (mean - truth.age_years).abs().mean()
