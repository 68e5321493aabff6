import json
import struct
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from aekit.brains.members import (
    Ensemble,
    predict_members,
    read_brain_config,
    read_ensemble,
    train_members,
    write_ensemble,
)
from aekit.brains.training import EpochRow, Member, TrainingSetup, build_network, fit_normalisation, stages_of
from aekit.brains.volumes.registration import WORKING_GRID
from aekit.brains.volumes.template import Template
from aekit.core.checkpoint import Header, read_header
from aekit.core.settings import to_dict
from aekit.errors import AekitError

pytestmark = pytest.mark.slow  # each trains, draws or starts the program

CPU = torch.device("cpu")


class Counter:
    """Keeps the members that have ended an epoch."""

    def __init__(self):
        self.members = set()

    def count(self, stage, member, n_epochs, row):
        self.members.add((member.fold, member.seed))


def members(n=24, folds=2, seeds=1):
    rows = np.arange(n)
    return [
        Member(fold, seed, rows[rows % folds != fold], rows[rows % folds == fold], "cv")
        for fold in range(folds)
        for seed in range(seeds)
    ]


def train(setup, people, *, n_workers=1, threads=1, ensemble=None, save=lambda ensemble: None):
    ensemble = Ensemble() if ensemble is None else ensemble
    train_members(people, setup, ensemble, threads=threads, n_workers=n_workers, save=save)
    return ensemble


def header(config, n_bins=12):
    found = to_dict(config)
    found["data"] |= {"n_bins": n_bins}
    return Header(**json.loads(json.dumps(found)))


def untrained(config, data, keys=((0, 0),)):
    """Return an ensemble of networks before training, one per stage and key."""
    normalisation = fit_normalisation(data, np.arange(len(data.age_years)), log_age=config.model.log_age)
    torch.manual_seed(0)
    return Ensemble(
        {
            key: {stage: build_network(stage, config, normalisation, 12).eval() for stage in stages_of(config)}
            for key in keys
        }
    )


# --- training side by side ---


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_workers(toy, brain_config, tmp_path):
    config = brain_config(direct=True, cv=2, val=0.0, test=0.0)
    setup = TrainingSetup(config, toy(), CPU, "fp32")
    people = members(folds=2, seeds=2)
    first, second = (train(setup, people if n == 1 else people[::-1], n_workers=n, threads=n) for n in (1, 3))
    assert first.history == second.history
    paths = [
        write_ensemble(tmp_path / name, ensemble, header(config))
        for name, ensemble in (("a.safetensors", first), ("b.safetensors", second))
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    other = train(setup, [replace(one, seed=one.seed + 7) for one in people[:1]])
    key = next(iter(other.networks))
    assert key == (0, 7)
    weights = [net["volumes"].net.head.weight for net in (other.networks[key], first.networks[0, 0])]
    assert not torch.equal(*weights)


def test_dropout_of_members_side_by_side_is_that_of_members_one_after_another(toy, brain_config, tmp_path):
    config = brain_config(arch="sfcn", direct=True, epochs=2, cv=2, val=0.0, test=0.0)
    setup = TrainingSetup(config, toy(), CPU, "fp32")
    paths = []
    for n in (1, 4):
        found = train(setup, members(folds=2, seeds=2), n_workers=n, threads=n)
        paths.append(write_ensemble(tmp_path / f"{n}.safetensors", found, header(config)))
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("log_age", [False, True])
def test_bins_of_age_are_read_from_the_checkpoint(toy, brain_config, tmp_path, log_age):
    data = toy()
    config = brain_config(arch="sfcn", target=None, direct=True, log_age=log_age)
    written = untrained(config, data)
    path = write_ensemble(tmp_path / "x.safetensors", written, header(config))
    read, _, _ = read_ensemble(path, CPU)
    networks = [ensemble.networks[0, 0]["direct"] for ensemble in (written, read)]
    batch = data.take(torch.arange(24), CPU)
    with torch.no_grad():
        ages, again = (network(*batch[:2]) for network in networks)
    assert torch.equal(ages, again)
    assert networks[0].labelled_years() == networks[1].labelled_years()
    lowest, highest = networks[1].labelled_years()
    assert lowest < float(data.age_years.min())
    assert float(data.age_years.max()) < highest < 1.3 * float(data.age_years.max())


def test_networks_without_bins_have_the_weights_that_they_always_had(toy, brain_config):
    for arch in ("strided", "base", "deep"):
        (stages,) = untrained(brain_config(arch=arch, direct=True), toy()).networks.values()
        own = set(stages["direct"].state_dict())
        assert {name for name in own if not name.startswith("net.encoder.")} == {
            "net.cumulative_mean",
            "net.cumulative_sd",
            "net.head.weight",
            "net.head.bias",
            "net.histogram_head.weight",
            "net.histogram_head.bias",
            "age.mean",
            "age.sd",
        }


def test_the_history_has_a_line_for_each_epoch_in_the_order_of_stages(toy, brain_config):
    config = brain_config(epochs=2)
    found = train(TrainingSetup(config, toy(), CPU, "fp32"), members(), n_workers=2, threads=2).history
    volumes = [row for row in found if row.stage == "volumes"]
    assert [(row.fold, row.epoch, row.split) for row in volumes] == [
        (fold, epoch, split) for fold in (0, 1) for epoch in (1, 2) for split in ("train", "cv")
    ]
    assert list(dict.fromkeys(row.stage for row in found)) == ["volumes", "age", "chain"]


def test_each_stage_is_saved_once_it_is_done_and_not_trained_again(toy, brain_config):
    setup, saved = TrainingSetup(brain_config(), toy(), CPU, "fp32"), []
    done = train(
        setup,
        members(),
        save=lambda ensemble: saved.append(sum(len(stages) for stages in ensemble.networks.values())),
    )
    assert saved == [1, 2, 3, 4, 5, 6]
    before = {key: dict(stages) for key, stages in done.networks.items()}
    n_lines = len(done.history)
    again = train(setup, members(), ensemble=done, save=lambda ensemble: saved.append(-1))
    assert again.networks == before
    assert len(again.history) == n_lines
    assert -1 not in saved


def test_an_error_in_one_member_ends_all_of_them_and_is_raised(toy, brain_config):
    data = toy()
    data.images[1] = np.nan  # trains in fold 0 alone
    counter = Counter()
    setup = TrainingSetup(brain_config(epochs=30, lr=0.5), data, CPU, "fp32", counter=counter)
    with pytest.raises(AekitError, match=r"^loss: stopped being finite in epoch 1 of volumes"):
        train(setup, members(seeds=3), n_workers=2, threads=2)
    assert len(counter.members) <= 1  # of fold 1, at most the one that was being trained


def test_a_member_that_fails_later_still_keeps_what_was_saved_before(toy, brain_config):
    data = toy()
    data.images[0] = np.nan  # trains in fold 1 alone
    found = Ensemble()
    with pytest.raises(AekitError, match="finite"):
        train(TrainingSetup(brain_config(), data, CPU, "fp32"), members(), ensemble=found)
    assert set(found.networks[0, 0]) == {"volumes", "age", "chain"}
    assert not found.networks[1, 0]


# --- predictions ---


@pytest.mark.parametrize("target", ["absolute", "proportion"])
def test_an_ensemble_predicts_the_mean_of_its_members_and_of_mirrored_images(toy, brain_config, target):
    data, config = toy(), brain_config(direct=True, target=target)
    data.images[:] *= np.linspace(0, 20, 8, dtype=np.float16)[:, None, None]  # right is unlike left
    if target == "proportion":
        data = replace(data, tissues=data.tissues / data.tissues.sum(1, keepdim=True))
    networks = list(untrained(config, data, ((0, 0), (0, 1), (0, 2))).networks.values())
    rows = np.array([20, 3, 4])
    predicted = predict_members(networks, data, rows, device=CPU, mirrored=True)
    batch = data.take(torch.from_numpy(rows), CPU)
    views = (batch.images, torch.from_numpy(batch.images.numpy()[:, :, ::-1].copy()))
    with torch.no_grad():
        by_hand = {
            "tissues": [net["volumes"](view, batch.cumulative_ml) for net in networks for view in views],
            "age_of_truth": [net["age"](batch.tissues) for net in networks],
            "chain_tissues": [net["chain"](view, batch.cumulative_ml)[0] for net in networks for view in views],
            "chain_age": [net["chain"](view, batch.cumulative_ml)[1] for net in networks for view in views],
            "direct_age": [net["direct"](view, batch.cumulative_ml) for net in networks for view in views],
        }
    for name, values in by_hand.items():
        np.testing.assert_allclose(getattr(predicted, name), torch.stack(values).mean(0), rtol=1e-5, err_msg=name)
    plain = predict_members(networks, data, rows, device=CPU, mirrored=False)
    np.testing.assert_allclose(plain.direct_age, torch.stack(by_hand["direct_age"][::2]).mean(0).numpy(), rtol=1e-5)
    assert (plain.direct_age != predicted.direct_age).all()


def test_a_network_that_was_not_trained_predicts_nothing(toy, brain_config):
    config, data = brain_config(target=None, direct=True), replace(toy(), tissues=torch.empty(24, 0))
    predicted = predict_members(
        untrained(config, data).networks.values(), data, np.arange(17), device=CPU, mirrored=False
    )
    assert predicted.direct_age.shape == (17,)  # more than one batch
    assert [predicted.tissues, predicted.age_of_truth, predicted.chain_tissues, predicted.chain_age] == [None] * 4


def test_without_true_volumes_everything_is_predicted_but_age_from_true_volumes(toy, brain_config):
    config, data = brain_config(), toy()
    networks = untrained(config, data).networks.values()
    predicted = predict_members(
        networks, replace(data, tissues=torch.empty(24, 0)), np.arange(4), device=CPU, mirrored=False
    )
    assert predicted.age_of_truth is None
    assert predicted.tissues.shape == (4, 3)


# --- files ---


@pytest.mark.parametrize("model", [{"arch": "deep"}, {"target": "proportion", "log_age": True, "direct": True}])
def test_networks_are_the_same_after_writing_and_reading(toy, brain_config, tmp_path, model):
    config, data = brain_config(**model), toy()
    ensemble = untrained(config, data, ((0, 0), (1, 5)))
    path = write_ensemble(tmp_path / "m.safetensors", ensemble, header(config))
    found, read, _ = read_ensemble(path, CPU)
    assert read == config
    assert found.n_parameters() == ensemble.n_parameters() > 0
    assert {key: list(stages) for key, stages in found.networks.items()} == {
        key: list(stages_of(config)) for key in ((0, 0), (1, 5))
    }
    rows = np.arange(6)
    for key, networks in ensemble.networks.items():
        before, after = (
            predict_members([one], data, rows, device=CPU, mirrored=True) for one in (networks, found.networks[key])
        )
        for left, right in zip(before, after, strict=True):
            np.testing.assert_array_equal(left, right)


def rewritten(path, change):
    """Return a copy of a checkpoint with another header."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    head = json.loads(content[8 : 8 + length])
    found = json.loads(head["__metadata__"]["aekit"])
    del found["sha256"]
    change(found)
    head["__metadata__"]["aekit"] = json.dumps(found)
    text = json.dumps(head).encode()
    other = path.with_name("damaged.safetensors")
    other.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    return other


DAMAGES = {
    "no bins": lambda found: found["data"].pop("n_bins"),
    "bins that are text": lambda found: found["data"].update(n_bins="12"),
    "bins below zero": lambda found: found["data"].update(n_bins=-1),
    "no members": lambda found: found.pop("members"),
    "members that are no list": lambda found: found.update(members={"0": 1}),
    "a member that is a number": lambda found: found.update(members=[3]),
    "a member without a seed": lambda found: found.update(members=[[0]]),
    "a member by name": lambda found: found.update(members=[["a", "b", "volumes"]]),
    "an unknown stage": lambda found: found["members"][0].append("dream"),
    "a stage that was not trained": lambda found: found["members"][0].append("direct"),
    "another architecture": lambda found: found["model"].update(arch="base"),
    "no such architecture": lambda found: found["model"].update(arch="wide"),
    "another grid": lambda found: found["data"].update(size=[9, 40, 8]),
    "a grid of text": lambda found: found["data"].update(size=["a", "b", "c"]),
    "a flat grid": lambda found: found["data"].update(size=[8, 8]),
    "an unknown setting": lambda found: found["train"].update(momentum=1),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_an_error_that_names_it(toy, brain_config, tmp_path, damage):
    config, data = brain_config(arch="deep"), toy()
    path = write_ensemble(tmp_path / "m.safetensors", untrained(config, data), header(config))
    assert read_ensemble(rewritten(path, lambda found: None), CPU)[1] == config
    with pytest.raises(AekitError, match=r"damaged\.safetensors: ") as told:
        read_ensemble(rewritten(path, DAMAGES[damage]), CPU)
    assert "\n" not in str(told.value)


def test_missing_weights_are_named(toy, brain_config, tmp_path):
    config, data = brain_config(), toy()
    ensemble = untrained(config, data)
    found = header(config)
    del ensemble.networks[0, 0]["age"].net
    path = write_ensemble(tmp_path / "m.safetensors", ensemble, found)
    with pytest.raises(AekitError, match=r"m\.safetensors: its weights do not fit its header \(net\.0\.bias"):
        read_ensemble(path, CPU)


def test_a_checkpoint_of_an_autoencoder_is_an_error(vae_checkpoint):
    with pytest.raises(AekitError, match=r"vae\.safetensors: holds an autoencoder.*; give a checkpoint of mri-train"):
        read_brain_config(vae_checkpoint, read_header(vae_checkpoint))


def test_a_row_of_history_is_plain_values():
    assert asdict(EpochRow("age", 0, 1, 2, "val", 0.5)) == {
        "stage": "age", "fold": 0, "seed": 1, "epoch": 2, "split": "val", "loss": 0.5,
    }  # fmt: skip


# --- ages out of range ---


@pytest.mark.parametrize("mirrored", [False, True])
def test_scans_of_which_a_network_predicts_an_impossible_age_are_marked(toy, brain_config, mirrored):
    config, data, rows = brain_config(direct=True), toy(), np.arange(6)
    ensemble = untrained(config, data, keys=((0, 0), (0, 1)))
    usual = predict_members(ensemble.networks.values(), data, rows, device=CPU, mirrored=mirrored)
    assert usual.clamped.tolist() == [0] * 6
    ensemble.networks[0, 1]["direct"].age.mean.fill_(500.0)
    found = predict_members(ensemble.networks.values(), data, rows, device=CPU, mirrored=mirrored)
    assert found.clamped.tolist() == [0.5] * 6
    first = predict_members([ensemble.networks[0, 0]], data, rows, device=CPU, mirrored=mirrored)
    np.testing.assert_allclose(found.direct_age, (first.direct_age + 120) / 2)


def test_the_template_is_kept_with_the_networks(toy, brain_config, tmp_path):
    config, data = brain_config(direct=True, register="rigid"), toy()
    ensemble = untrained(config, data)
    ensemble.template = Template(np.random.default_rng(0).uniform(0, 1, WORKING_GRID.size).astype(np.float16))
    path = write_ensemble(tmp_path / "x.safetensors", ensemble, header(config))
    read, found, _ = read_ensemble(path, torch.device("cpu"))
    assert found.data.register == "rigid"
    np.testing.assert_array_equal(read.template.image, ensemble.template.image)
    ensemble.template = None
    path = write_ensemble(tmp_path / "x.safetensors", ensemble, header(config))
    with pytest.raises(AekitError, match=r"x\.safetensors: its template is missing or damaged; train it again"):
        read_ensemble(path, torch.device("cpu"))
