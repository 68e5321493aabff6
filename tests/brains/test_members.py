import json
import struct
import threading
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from aekit.brains import runs
from aekit.brains.members import Ensemble, ask_members, read_brain_config, read_ensemble, train_members, write_ensemble
from aekit.brains.runs import BrainReporting, train_brains
from aekit.brains.training import EpochRow, Member, Setting, build_network, measure_norms, stages_of
from aekit.core.checkpoint import Header, read_header, resume_path
from aekit.core.settings import to_dict
from aekit.errors import AekitError, Stopped

CPU = torch.device("cpu")


def members(n=24, folds=2, seeds=1):
    rows = np.arange(n)
    return [
        Member(fold, seed, rows[rows % folds != fold], rows[rows % folds == fold], "cv")
        for fold in range(folds)
        for seed in range(seeds)
    ]


def train(setting, people, *, n_workers=1, threads=1, ensemble=None, save=lambda ensemble: None):
    ensemble = Ensemble() if ensemble is None else ensemble
    train_members(people, setting, ensemble, threads=threads, n_workers=n_workers, save=save)
    return ensemble


def header(config, n_bins=12):
    found = to_dict(config)
    found["data"] |= {"n_bins": n_bins}
    return Header(**json.loads(json.dumps(found)))


def untrained(config, data, keys=((0, 0),)):
    """Return an ensemble of networks as they are drawn, one a stage and key."""
    norms = measure_norms(data, np.arange(len(data.age_years)), log_age=config.model.log_age)
    torch.manual_seed(0)
    return Ensemble(
        {key: {stage: build_network(stage, config, norms, 12).eval() for stage in stages_of(config)} for key in keys}
    )


# --- training side by side ---


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_however_many_work_at_once(toy, brain_config, tmp_path):
    config = brain_config(direct=True, cv=2, val=0.0, test=0.0)
    setting = Setting(config, toy(), CPU, "fp32")
    people = members(folds=2, seeds=2)
    first, second = (train(setting, people if n == 1 else people[::-1], n_workers=n, threads=n) for n in (1, 3))
    assert first.history == second.history
    paths = [
        write_ensemble(tmp_path / name, ensemble, header(config))
        for name, ensemble in (("a.safetensors", first), ("b.safetensors", second))
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    other = train(setting, [replace(one, seed=one.seed + 7) for one in people[:1]])
    key = next(iter(other.networks))
    assert key == (0, 7)
    weights = [net["volumes"].net.head.weight for net in (other.networks[key], first.networks[0, 0])]
    assert not torch.equal(*weights)


def test_the_history_has_a_line_for_each_epoch_in_the_order_of_stages(toy, brain_config):
    config = brain_config(epochs=2)
    found = train(Setting(config, toy(), CPU, "fp32"), members(), n_workers=2, threads=2).history
    volumes = [row for row in found if row.stage == "volumes"]
    assert [(row.fold, row.epoch, row.split) for row in volumes] == [
        (fold, epoch, split) for fold in (0, 1) for epoch in (1, 2) for split in ("train", "cv")
    ]
    assert list(dict.fromkeys(row.stage for row in found)) == ["volumes", "age", "chain"]


def test_each_stage_is_saved_once_it_is_done_and_not_trained_again(toy, brain_config):
    setting, saved = Setting(brain_config(), toy(), CPU, "fp32"), []
    done = train(
        setting,
        members(),
        save=lambda ensemble: saved.append(sum(len(stages) for stages in ensemble.networks.values())),
    )
    assert saved == [1, 2, 3, 4, 5, 6]
    before = {key: dict(stages) for key, stages in done.networks.items()}
    n_lines = len(done.history)
    again = train(setting, members(), ensemble=done, save=lambda ensemble: saved.append(-1))
    assert again.networks == before
    assert len(again.history) == n_lines
    assert -1 not in saved


def test_an_error_in_one_member_ends_all_of_them_and_is_told(toy, brain_config):
    data = toy()
    data.images[1] = np.nan  # trains in fold 0 alone
    epochs = []
    lock = threading.Lock()

    def note(stage, member, epoch, n_epochs, loss):
        with lock:
            epochs.append((member.fold, member.seed, epoch))

    setting = Setting(brain_config(epochs=30, lr=0.5), data, CPU, "fp32", on_epoch=note)
    with pytest.raises(AekitError, match=r"^loss: stopped being finite in epoch 1 of volumes"):
        train(setting, members(seeds=3), n_workers=2, threads=2)
    assert len({key[:2] for key in epochs}) <= 1  # of fold 1, that one at most which was at work


def test_a_member_that_fails_later_still_keeps_what_was_saved_before(toy, brain_config):
    data = toy()
    data.images[0] = np.nan  # trains in fold 1 alone
    found = Ensemble()
    with pytest.raises(AekitError, match="finite"):
        train(Setting(brain_config(), data, CPU, "fp32"), members(), ensemble=found)
    assert set(found.networks[0, 0]) == {"volumes", "age", "chain"}
    assert not found.networks[1, 0]


# --- interrupt and resume, the whole run ---


@pytest.fixture
def run(phantom_source, brain_config, monkeypatch, tmp_path):
    """Return a function that trains on phantoms into a path, without figures."""
    monkeypatch.setattr(runs, "write_figures", lambda *arguments: None)
    config = brain_config(size=(8, 8, 8), spacing_mm=24.0, cv=2, val=0.0, test=0.0, arch="deep", direct=True)

    def start(name, *, config=config, **options):
        options = {"device_name": "cpu", "threads": 1, "overwrite": False, "resume": False} | options
        return train_brains(config, phantom_source, tmp_path / f"{name}.safetensors", **options)

    start.config = config
    return start


def stop_after(n_batches):
    left = [n_batches]

    def stop():
        left[0] -= 1
        if left[0] < 0:
            raise Stopped("stopped; go on with --resume", 2)

    return BrainReporting(stop=stop)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_bytes_of_an_undisturbed_one(run, tmp_path):
    whole = run("whole", reporting=BrainReporting())
    with pytest.raises(Stopped):  # two batches a stage, and 200 for ages: in the chain of the first fold
        run("broken", reporting=stop_after(2 + 200 + 1))
    unfinished = resume_path(tmp_path / "broken.safetensors")
    assert read_header(unfinished).members == [[0, 0, "volumes", "age"]]
    assert not (tmp_path / "broken.safetensors").exists()
    with pytest.raises(AekitError, match=r"broken\.resume\.safetensors: an unfinished run is there; .*--resume"):
        run("broken", reporting=BrainReporting())
    said = []
    finished = run("broken", resume=True, reporting=BrainReporting(on_message=said.append))
    assert "going on after 2 of 8 stages" in said
    assert finished.path.read_bytes() == whole.path.read_bytes()
    assert not unfinished.exists()
    for suffix in (".csv", ".metrics.csv", ".predictions.csv", ".differences.csv", ".left-out.csv"):
        assert finished.path.with_suffix(suffix).read_bytes() == whole.path.with_suffix(suffix).read_bytes()


def test_what_is_resumed_must_be_the_same_run(run, tmp_path):
    with pytest.raises(Stopped):
        run("x", reporting=stop_after(3))
    other = replace(run.config, train=replace(run.config.train, lr=0.1))
    with pytest.raises(AekitError, match=r"x\.resume\.safetensors: was trained with lr 0\.0003, not 0\.1"):
        run("x", config=other, resume=True, reporting=BrainReporting())
    cut = resume_path(tmp_path / "x.safetensors")
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(AekitError, match=r"x\.resume\.safetensors: is cut short"):
        run("x", resume=True, reporting=BrainReporting())


@pytest.mark.slow
def test_a_finished_run_is_kept_with_resume_and_its_metrics_are_those_of_the_table(run):
    first = run("x", reporting=BrainReporting())
    again = run("x", resume=True, reporting=stop_after(0))
    assert again.path == first.path
    assert again.header == first.header
    np.testing.assert_allclose(again.metrics["mae"], first.metrics["mae"])
    assert list(again.metrics["model"]) == list(first.metrics["model"])


# --- asking ---


@pytest.mark.parametrize("target", ["absolute", "proportion"])
def test_an_ensemble_says_the_mean_of_its_members_and_a_mirror_that_of_both_images(toy, brain_config, target):
    data, config = toy(), brain_config(direct=True, target=target)
    data.images[:] *= np.linspace(0, 20, 8, dtype=np.float16)[:, None, None]  # right is unlike left
    if target == "proportion":
        data = replace(data, tissues=data.tissues / data.tissues.sum(1, keepdim=True))
    networks = list(untrained(config, data, ((0, 0), (0, 1), (0, 2))).networks.values())
    rows = np.array([20, 3, 4])
    said = ask_members(networks, data, rows, device=CPU, mirrored=True)
    brains = data.take(torch.from_numpy(rows), CPU)
    views = (brains.images, torch.from_numpy(brains.images.numpy()[:, :, ::-1].copy()))
    with torch.no_grad():
        by_hand = {
            "tissues": [net["volumes"](view, brains.cumulative_ml) for net in networks for view in views],
            "age_of_truth": [net["age"](brains.tissues) for net in networks],
            "chain_tissues": [net["chain"](view, brains.cumulative_ml)[0] for net in networks for view in views],
            "chain_age": [net["chain"](view, brains.cumulative_ml)[1] for net in networks for view in views],
            "direct_age": [net["direct"](view, brains.cumulative_ml) for net in networks for view in views],
        }
    for name, values in by_hand.items():
        np.testing.assert_allclose(getattr(said, name), torch.stack(values).mean(0), rtol=1e-5, err_msg=name)
    plain = ask_members(networks, data, rows, device=CPU, mirrored=False)
    np.testing.assert_allclose(plain.direct_age, torch.stack(by_hand["direct_age"][::2]).mean(0).numpy(), rtol=1e-5)
    assert (plain.direct_age != said.direct_age).all()


def test_what_was_not_trained_is_not_said(toy, brain_config):
    config, data = brain_config(target=None, direct=True), replace(toy(), tissues=torch.empty(24, 0))
    said = ask_members(untrained(config, data).networks.values(), data, np.arange(17), device=CPU, mirrored=False)
    assert said.direct_age.shape == (17,)  # more than are asked at once
    assert [said.tissues, said.age_of_truth, said.chain_tissues, said.chain_age] == [None] * 4


def test_new_scans_without_true_volumes_get_everything_but_the_age_of_true_volumes(toy, brain_config):
    config, data = brain_config(), toy()
    networks = untrained(config, data).networks.values()
    said = ask_members(networks, replace(data, tissues=torch.empty(24, 0)), np.arange(4), device=CPU, mirrored=False)
    assert said.age_of_truth is None
    assert said.tissues.shape == (4, 3)


# --- files ---


@pytest.mark.parametrize("model", [{"arch": "deep"}, {"target": "proportion", "log_age": True, "direct": True}])
def test_networks_come_back_from_a_file_as_they_went(toy, brain_config, tmp_path, model):
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
            ask_members([one], data, rows, device=CPU, mirrored=True) for one in (networks, found.networks[key])
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
def test_a_damaged_checkpoint_is_refused_by_name(toy, brain_config, tmp_path, damage):
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


def test_an_autoencoder_reads_no_brains(vae_checkpoint):
    with pytest.raises(AekitError, match=r"vae\.safetensors: holds an autoencoder.*; give a checkpoint of mri-train"):
        read_brain_config(vae_checkpoint, read_header(vae_checkpoint))


def test_a_row_of_history_is_plain_values():
    assert asdict(EpochRow("age", 0, 1, 2, "val", 0.5)) == {
        "stage": "age", "fold": 0, "seed": 1, "epoch": 2, "split": "val", "loss": 0.5,
    }  # fmt: skip
