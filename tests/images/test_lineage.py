"""A run that begins with the weights of another one: what it takes, what it refuses, and what it says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recorded import Recorded
from safetensors.torch import load_file
from small_checkpoint import dense_header, rewrite
from tiny_training import TINY, train_tiny

from aekit.core.checkpoint import RESUME_SUFFIX, Header, read_header, resume_path
from aekit.core.weights import write_checkpoint
from aekit.errors import AekitError, Stopped
from aekit.images.config import ModelConfig
from aekit.images.lineage import take_weights
from aekit.images.models import build_model
from aekit.images.parent import check_fits, inherit_model
from aekit.images.run_settings import build_config, run_name
from aekit.images.state import read_model
from aekit.images.sweep.cells import expand
from aekit.images.sweep.plan import plan_sweep

pytestmark = pytest.mark.slow  # each trains, draws or starts the program

NETWORK = {name: TINY[name] for name in ("arch", "latent", "width")}


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    output = tmp_path_factory.mktemp("parent") / "first.safetensors"
    train_tiny(output, epochs=2)
    return output


def _model(**settings):
    torch.manual_seed(5)
    return build_model(ModelConfig(**{"kind": "vae", "arch": "dense", "latent": 2, "width": 8, **settings}), (1, 8, 8))


def test_a_run_at_a_rate_of_nothing_ends_with_the_weights_that_it_began_with(parent, tmp_path):
    output = tmp_path / "x.safetensors"
    train_tiny(output, init=str(parent), epochs=1, lr=1e-30, weight_decay=0.0, schedule="constant", seed=9)
    began, ended = load_file(parent), load_file(output)
    assert all(torch.equal(began[name], ended[name]) for name in began)


def test_weights_go_on_while_moments_and_noise_begin_anew(parent, tmp_path):
    """Two runs of two epochs are not one of four: by hand, the second is a new run from the weights of the first."""
    header = train_tiny(tmp_path / "x.safetensors", init=str(parent), epochs=2)
    first = read_header(parent)
    assert header.result["history"][0]["total"] < first.result["history"][0]["total"]
    assert header.result["history"][0]["total"] != first.result["history"][2]["total"]


def test_lineage_has_names_checksums_and_epochs_back_to_the_first_and_no_path(parent, tmp_path):
    header = train_tiny(tmp_path / "second.safetensors", init=str(parent), epochs=1)
    grandchild = train_tiny(tmp_path / "third.safetensors", init=str(tmp_path / "second.safetensors"), epochs=1)
    first, second = read_header(parent), read_header(tmp_path / "second.safetensors")
    assert [each["name"] for each in grandchild.lineage] == ["second.safetensors", "first.safetensors"]
    assert [each["epoch"] for each in grandchild.lineage] == [1, 2]
    assert [each["sha256"] for each in grandchild.lineage] == [second.sha256, first.sha256]
    assert (header.train["init"], header.lineage) == ("first.safetensors", grandchild.lineage[1:])
    assert str(parent.parent).encode() not in (tmp_path / "second.safetensors").read_bytes()
    assert first.lineage == []
    assert not {"init", "patience"} & first.train.keys()  # as before there were these options


def test_info_names_the_ancestors(aekit, parent, tmp_path):
    train_tiny(tmp_path / "x.safetensors", init=str(parent), epochs=1)
    sha256 = read_header(parent).sha256[:12]
    told = aekit("info", tmp_path / "x.safetensors").stderr
    assert f"began as  first.safetensors (epoch 2 on digits, sha256 {sha256})" in told


def test_a_report_names_the_ancestors_and_the_epochs(aekit, parent, tmp_path):
    options = {"init": str(parent), "val": 0.3, "patience": 1, "epochs": 2}
    train_tiny(tmp_path / "x.safetensors", **options)
    assert aekit("report", tmp_path, "-o", tmp_path / "report.html").exit_code == 0
    page = (tmp_path / "report.html").read_text()
    assert "first.safetensors (epoch 2 on digits" in page
    assert "trained_epochs" in page
    assert "--init first.safetensors" in page


def test_a_checkpoint_that_is_older_than_checksums_has_one_of_its_content(parent, tmp_path):
    old = tmp_path / "old.safetensors"
    old.write_bytes(parent.read_bytes())
    rewrite(old)
    assert read_header(old).sha256 is None
    child = train_tiny(tmp_path / "x.safetensors", init=str(old), epochs=1)
    assert len(child.lineage[0]["sha256"]) == 64
    train_tiny(tmp_path / "x.safetensors", init=str(old), epochs=1, resume=True)
    tensors = load_file(old)
    rewrite(old, tensors=tensors | {"mean_head.bias": tensors["mean_head.bias"] + 1})
    with pytest.raises(AekitError, match=r"began with another old\.safetensors than"):
        train_tiny(tmp_path / "x.safetensors", init=str(old), epochs=1, resume=True)


@pytest.mark.parametrize("kind", ["ae", "vae"])
@pytest.mark.parametrize("to", ["ae", "vae"])
@pytest.mark.parametrize("loss", ["bernoulli", "gaussian"])
def test_between_kinds_and_losses_all_is_taken_but_what_one_of_them_does_not_have(tmp_path, kind, to, loss):
    torch.manual_seed(1)
    parent = build_model(ModelConfig(kind=kind, arch="dense", latent=2, width=8), (1, 8, 8))
    header = dense_header(kind=kind)
    header.data["shape"] = [1, 8, 8]
    path = write_checkpoint(tmp_path / "x.safetensors", parent.state_dict(), header)
    model = _model(kind=to, loss=loss)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    said = take_weights(model, path)
    for name, value in model.state_dict().items():
        assert torch.equal(value, parent.state_dict().get(name, before[name])), name
    assert ("left out: log-variances" in said) == (kind == "vae" and to == "ae")
    assert ("new: log-variances" in said) == (kind == "ae" and to == "vae")
    assert ("pixel noise" in said) == (loss == "gaussian")
    assert ("; kind " in said) == (kind != to)


@pytest.mark.parametrize(
    ("prior", "components", "is_taken"),
    [("mixture", 4, True), ("mixture", 5, False), ("normal", None, False)],
)
def test_a_learned_prior_is_taken_only_by_one_of_its_kind_and_size(tmp_path, prior, components, is_taken):
    torch.manual_seed(1)
    parent = build_model(ModelConfig(arch="dense", latent=2, width=8, prior="mixture", components=4), (1, 8, 8))
    header = dense_header(prior="mixture", components=4)
    header.data["shape"] = [1, 8, 8]
    path = write_checkpoint(tmp_path / "x.safetensors", parent.state_dict(), header)
    own = {"prior": prior, "components": components}
    model = _model(**own)
    said = take_weights(model, path)
    assert ("left out: prior" in said) is not is_taken
    assert (f"; prior mixture becomes {prior}" in said) is (prior != "mixture")
    assert ("; components 4 becomes " in said) is not is_taken
    assert (is_taken and torch.equal(model.prior.mean, parent.prior.mean)) is is_taken
    inherited = inherit_model({"init": str(path), "model": "vae", **own, "loss": None}, ["prior", "components"])
    assert ModelConfig(**{name: inherited[name] for name in own}).n_components == (components or 1)
    assert (
        inherit_model({"init": str(path), "model": "vae", "prior": "normal", "components": None}, [])["components"] == 4
    )
    assert inherit_model({"init": str(path), "model": "ae"}, []).get("prior", "normal") == "normal"


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"stochastic_layers": 2}, "has stochastic_layers 1, not 2; leave out --stochastic-layers"),
        ({"latent": 3}, "has latent 2, not 3; leave out --latent"),
        ({"arch": "conv", "width": 12}, "has arch dense, not conv, width 8, not 12; leave out --arch, --width"),
        ({"layers": 3}, "has layers default, not 3"),
    ],
)
def test_another_network_is_refused_by_each_option_that_differs(parent, tmp_path, own, said):
    with pytest.raises(AekitError) as told:
        train_tiny(tmp_path / "x.safetensors", init=str(parent), **own)
    assert said in str(told.value)
    values = {"init": str(parent), **NETWORK, "layers": None, "loss": "bernoulli", **own}
    with pytest.raises(AekitError, match=said):
        inherit_model(values, own)


def test_a_default_number_of_lower_variables_is_the_same_as_that_number_given():
    two_layers = ModelConfig(latent=4, stochastic_layers=2)
    for own in ({"lower_latent": 8}, {"lower_latent": None}, {"lower_latent": None, "latent": 4}):
        check_fits(Path("x"), two_layers, own)
    with pytest.raises(AekitError, match="has lower_latent 8, not 5; leave out --lower-latent"):
        check_fits(Path("x"), two_layers, {"lower_latent": 5})
    check_fits(Path("x"), ModelConfig(latent=4), {"lower_latent": None, "latent": 4})


def test_what_is_left_open_is_taken_from_the_parent(aekit, parent, tmp_path):
    options = ["--data", "digits", "--limit", 60, "--epochs", 1, "--init", parent]
    for command, kind in (("train-vae", "vae"), ("train-ae", "ae")):
        result = aekit(command, *options, "-o", tmp_path / f"{kind}.safetensors")
        assert result.exit_code == 0, result.stderr
        assert f"beginning with the weights of {parent} (vae dense, latent 2, epoch 2)" in result.stderr
        model = read_header(tmp_path / f"{kind}.safetensors").model
        assert model == {**NETWORK, "kind": kind, "layers": None, "loss": "bernoulli"}
    # 10 is the default of --latent, but now it was asked for.
    result = aekit("train-vae", *options, "--latent", 10, "-o", tmp_path / "z.safetensors")
    assert (result.exit_code, "has latent 2, not 10" in result.stderr) == (1, True)
    assert not (tmp_path / "z.safetensors").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"image_size": (16, 12)},
            "images of 1x8x8 (channels, height, width), and --data has 1x16x12; add",
        ),
        ({"init": "gone.safetensors"}, "--init gone.safetensors: cannot be read"),
    ],
)
def test_what_cannot_be_begun_with_is_refused_and_leaves_nothing(parent, tmp_path, settings, said):
    with pytest.raises(AekitError) as told:
        train_tiny(tmp_path / "in" / "x.safetensors", **{"init": str(parent), **settings})
    assert said in str(told.value)
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (Header({"kind": "brain"}, {}, {}), "contains brain-image networks"),
        (Header({"kind": "vae"}, {}, {}, state={"epoch": 1}), "is an unfinished run"),
    ],
)
def test_other_checkpoints_are_refused_by_what_they_are(aekit, tmp_path, header, said):
    path = write_checkpoint(tmp_path / "brain.safetensors", {}, header)
    for command in ("train-ae", "sweep"):
        result = aekit(command, "--data", "digits", "--init", path, "-o", tmp_path / "x")
        assert result.exit_code == 1
        assert f"--init {path}: {said}" in result.stderr


@pytest.mark.parametrize("command", ["train-ae", "train-vae", "sweep"])
def test_a_checkpoint_that_cannot_be_read_is_named_with_its_option(aekit, parent, tmp_path, command):
    (tmp_path / "text.safetensors").write_text("no checkpoint")
    short = tmp_path / "short.safetensors"
    short.write_bytes(parent.read_bytes()[:-8])
    words = [command, "--data", "digits", "--limit", 60, "--epochs", 1, "-o", tmp_path / "x"]
    for name, said in (("gone", "cannot be read (No such"), ("text.safetensors", ""), (".", "cannot be read (Is a")):
        result = aekit(*words, "--init", tmp_path / name)
        assert (result.exit_code, f"--init {tmp_path / name}: {said}" in result.stderr) == (1, True), result.stderr
    if command != "sweep":
        assert (
            f"--init {tmp_path / 'short.safetensors'}: "
            in aekit(*words, "--init", tmp_path / "short.safetensors").stderr
        )
    for empty in ("", " "):
        result = aekit(*words, "--init", empty)
        assert (result.exit_code, f"--init: '{empty}' " in result.stderr) == (2, True), result.stderr
    assert not (tmp_path / "x").exists()


def test_a_parent_is_never_replaced_by_its_child(tmp_path, parent):
    path = tmp_path / "x.safetensors"
    path.write_bytes(parent.read_bytes())
    for options in ({"overwrite": True}, {"resume": True}, {}):
        with pytest.raises(AekitError, match=r"is the checkpoint of --init, which it would replace"):
            train_tiny(path, init=str(path), **options)
    assert path.read_bytes() == parent.read_bytes()


def test_an_unfinished_run_goes_on_without_its_parent_and_not_with_another(aekit, parent, tmp_path):
    mother, output = tmp_path / "mother.safetensors", tmp_path / "x.safetensors"
    mother.write_bytes(parent.read_bytes())
    train_tiny(tmp_path / "whole.safetensors", init=str(mother))
    with pytest.raises(Stopped):
        train_tiny(output, init=str(mother), progress=Recorded(stop_after=4))

    train_tiny(mother, epochs=1, overwrite=True)  # it is another one now
    with pytest.raises(AekitError, match=r"began with another mother\.safetensors than --init .* is now"):
        train_tiny(output, init=str(mother), resume=True)
    assert resume_path(output).exists()
    with pytest.raises(AekitError, match=r"began with another mother\.safetensors"):
        train_tiny(tmp_path / "whole.safetensors", init=str(mother), resume=True)

    mother.unlink()
    words = ["--data", "digits", "--limit", 60, "--epochs", 3, "--batch-size", 20, "--threads", 1, "--device", "cpu"]
    result = aekit("train-vae", *words, "--init", mother, "--resume", "-o", output)  # the network is in the state
    assert result.exit_code == 0, result.stderr
    assert output.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_more_epochs_than_a_finished_run_has_are_refused_with_the_way_out(tmp_path):
    output = tmp_path / "x.safetensors"
    with pytest.raises(Stopped):
        train_tiny(output, progress=Recorded(stop_after=4))
    with pytest.raises(AekitError, match="is an unfinished run of 3 epochs, not 5; finish it with --epochs 3"):
        train_tiny(output, epochs=5, resume=True)
    train_tiny(output, resume=True)
    with pytest.raises(AekitError) as told:
        train_tiny(output, epochs=5, resume=True)
    assert f"is finished with 3 epochs, not 5; begin a new run with its weights: --init {output} -o" in str(told.value)


def test_a_finished_run_of_other_epochs_is_mentioned_to_who_wants_to_resume_it(aekit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train-ae", "--data", "digits", "--limit", 60, "--arch", "dense"]
    assert aekit(*words, "--epochs", 1).exit_code == 0
    told = aekit(*words, "--epochs", 2, "--resume").stderr
    old = "runs/ae-digits-dense-z10-limit60-epochs1.safetensors"
    assert f"{old}: differs in --epochs and is finished; --init {old} trains on from its weights" in told
    assert "is finished" not in aekit(*words, "--epochs", 2, "--seed", 1, "--resume").stderr


def test_a_name_tells_the_parent_and_stays_short_over_generations():
    names = ["vae-mnist-conv-z10"]
    for _ in range(20):
        names.append(run_name(build_config({"init": f"/somewhere/{names[-1]}.safetensors"})))
    assert names[1] == "vae-mnist-conv-z10-initvae-mnist-conv-z10"
    assert len(set(names)) == len(names)
    assert max(len(f".{name}{RESUME_SUFFIX}.lock") for name in names) < 255
    assert not any("/" in name for name in names)


def test_a_grid_takes_the_network_of_each_parent_and_refuses_another(parent, tmp_path):
    other = tmp_path / "other.safetensors"
    write_checkpoint(other, {}, dense_header(latent=5))
    (first, second), swept = expand({"model": "vae", "latent": None, "init": f"{parent},{other}"})
    assert (first.model.latent, second.model.latent, swept) == (2, 5, ["latent", "init"])
    with pytest.raises(AekitError, match="has latent 2, not 5"):
        expand({"model": "vae", "latent": "2,5", "init": str(parent)})
    plan = plan_sweep({"model": "vae", "init": f"{parent},{other}"})
    assert plan.folder.parts[0] == "runs"
    assert len(plan.folder.parts) == 2
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "other.safetensors").write_bytes(other.read_bytes())
    with pytest.raises(AekitError, match="--init: two checkpoints of the same name would share files"):
        plan_sweep({"model": "vae", "init": f"{other},{tmp_path / 'in' / 'other.safetensors'}"})


def test_the_weights_that_are_taken_give_the_codes_of_the_parent(parent):
    model = _model()
    take_weights(model, parent)
    own, _ = read_model(parent, torch.device("cpu"))
    x = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(model.eval().encode(x), own.encode(x), rtol=0, atol=0)
