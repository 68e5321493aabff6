"""A sweep is named by what differs, and one that makes no sense is refused before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from aekit.errors import AekitError, UsageError
from aekit.images.config import DataConfig, ModelConfig, RunConfig
from aekit.images.run_settings import SETTINGS
from aekit.images.sweep.plan import _check_metric, cell_settings, plan_sweep, training_commands

DEFAULTS = {"model": "vae", "data": "digits", "latent": "10"}


def _plan(output=None, best=None, retrain=False, **given):
    return plan_sweep(DEFAULTS | given, output, best=best, retrain=retrain)


def test_labels_have_the_settings_in_which_cells_differ():
    plan = _plan(model="ae,vae", arch="conv,dense", beta="0.5,2", latent="2")
    assert [cell.label for cell in plan.cells][-4:] == [
        "vae, conv, beta 0.5", "vae, conv, beta 2", "vae, dense, beta 0.5", "vae, dense, beta 2",
    ]  # fmt: skip
    assert plan.cells[0].label == "ae, conv"
    assert [cell.label for cell in _plan().cells] == ["vae conv, latent 10"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"patience": "1,2"}, r"^--patience: needs validation images .*; add --val 0\.1"),
        ({"keep": "last,best"}, r"^--keep best: needs validation images .*; add --val 0\.1"),
        ({"keep": "best", "val": "0,0.2"}, r"^--keep best: needs"),
    ],
)
def test_epochs_are_not_judged_without_validation_images(tmp_path, given, said):
    with pytest.raises(AekitError, match=said):
        _plan(**given)
    plan = _plan(**given | {"val": "0.2"})
    assert all(cell.config.data.val == 0.2 for cell in plan.cells)
    for split in ("train", "val"):
        (tmp_path / "photos" / split).mkdir(parents=True)
    assert _plan(**given | {"val": "0", "data": str(tmp_path / "photos")}).cells  # which brings them along


def test_the_folder_is_named_by_the_options_and_long_lists_are_cut():
    assert _plan(latent="2,4").folder == Path("runs/sweep-vae-digits-latent2,4")
    assert _plan(latent="2-30").folder == Path("runs/sweep-vae-digits-latent2..30x29")
    assert _plan(data="images/faces.npy", arch="dense").folder == Path("runs/sweep-vae-faces-dense")
    assert _plan(data="x", labels="tables/kinds.csv").folder == Path("runs/sweep-vae-x-labelskinds")
    assert _plan(Path("grid")).cells[0].path == Path("grid/vae-digits-conv-z10.safetensors")


def test_a_name_has_every_swept_option_in_the_order_given_and_numbers_ascend():
    plan = plan_sweep({"model": "vae", "seed": "0,1", "beta": "5,0.1,1", "latent": "10,2", "epochs": "3"}, Path("g"))
    names = [cell.path.stem for cell in plan.cells]
    assert plan.swept == ("seed", "beta", "latent")
    assert names[:4] == [
        "vae-mnist-conv-seed0-beta0.1-z2-epochs3", "vae-mnist-conv-seed0-beta0.1-z10-epochs3",
        "vae-mnist-conv-seed0-beta1-z2-epochs3", "vae-mnist-conv-seed0-beta1-z10-epochs3",
    ]  # fmt: skip
    assert len(set(names)) == 12
    sizes = plan_sweep({"model": "ae,vae", "image_size": "16,8", "beta": "1,0.5"}, Path("g"))
    assert [cell.path.stem for cell in sizes.cells] == [
        "ae-mnist-conv-z10-imagesize8x8", "ae-mnist-conv-z10-imagesize16x16",
        "vae-mnist-conv-z10-imagesize8x8-beta0.5", "vae-mnist-conv-z10-imagesize8x8-beta1",
        "vae-mnist-conv-z10-imagesize16x16-beta0.5", "vae-mnist-conv-z10-imagesize16x16-beta1",
    ]  # fmt: skip


def test_the_folder_does_not_depend_on_the_order_and_one_of_an_earlier_version_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new, old = Path("runs/sweep-vae-latent2,4-beta0.1,1"), Path("runs/sweep-vae-latent4,2-beta0.1,1")
    unsorted = {"model": "vae", "beta": "0.1,1", "latent": "4,2"}
    assert plan_sweep(unsorted).folder == plan_sweep({**unsorted, "latent": "2,4"}).folder == new
    old.mkdir(parents=True)
    assert plan_sweep(unsorted).folder == old
    assert plan_sweep({"model": "ae,vae", "beta": "0.1,1"}).folder == Path("runs/sweep-ae-vae-beta0.1,1")


def test_a_plain_autoencoder_has_no_settings_of_the_kl_divergence():
    settings = cell_settings(RunConfig(ModelConfig(kind="ae")))
    assert settings["beta"] is settings["beta_warmup"] is None
    assert cell_settings(RunConfig())["beta"] == 1.0


def test_a_cell_has_a_training_command_that_leaves_what_the_sweep_would(tmp_path):
    plan = _plan(Path("a grid"), latent="2")
    (command,) = training_commands(plan, data_root=None, device="cpu", threads=2)
    assert command == (
        "aekit train-vae --data digits --latent 2 --device cpu --threads 2 --resume "
        "-o 'a grid/vae-digits-conv-z2.safetensors'"
    )


def test_the_best_cell_is_chosen_by_what_can_be_compared():
    with pytest.raises(AekitError, match=r"--best: needs validation images .*; add --val 0\.2"):
        _plan(best="elbo")
    with pytest.raises(AekitError, match="totals with different beta are not comparable"):
        _plan(best="total", val="0.2", beta="1,2")
    with pytest.raises(AekitError, match="under different --loss are not comparable; use mse"):
        _plan(best="elbo", val="0.2", loss="bernoulli,gaussian")
    with pytest.raises(AekitError, match="a plain autoencoder has no KL divergence"):
        _plan(best="kl", val="0.2", model="ae,vae")
    with pytest.raises(AekitError, match="given its class and without it"):
        _plan(best="elbo", val="0.2", condition="none,label")
    with pytest.raises(AekitError, match="are told different classes"):
        _plan(best="elbo", val="0.2", condition="label", data="photos", labels="lab.csv,lab2.csv")
    assert _plan(best="mse", val="0.2", condition="none,label").best == "mse"
    assert _plan(best="mse", val="0.2", loss="bernoulli,gaussian", model="ae,vae").best == "mse"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("image_size", "8,16"), ("data", "digits,mnist"), ("limit", "50,60"), ("val", "0.1,0.2"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("metric", ["elbo", "mse", "total"])
def test_cells_with_different_validation_images_do_not_compare_by_any_metric(name, values, metric):
    option = f"--{name.replace('_', '-')}"
    with pytest.raises(AekitError, match=f"^--best {metric}: cells with different {option} .* for each {option} sep"):
        _plan(best=metric, **{"val": "0.2", name: values})
    assert len(_plan(**{"val": "0.2", name: values}).cells) == 2


def test_every_setting_of_the_data_is_refused_but_the_seed_of_splits_and_labels():
    allowed = ("split_seed", "labels")
    swept = [name for name, (part, _) in SETTINGS.items() if part == "data" and name not in allowed]
    assert {"image_size", "grayscale", "limit", "value_range", "skip_bad"} <= set(swept)
    for name in swept:
        with pytest.raises(AekitError, match="do not compare"):
            _check_metric("elbo", [RunConfig(data=DataConfig(val=0.2))], [name])
    assert _plan(best="elbo", val="0.2", split_seed="0-2", seed="0,1").best == "elbo"
    assert _plan(best="elbo", val="0.2", data="photos", labels="lab.csv,lab2.csv").best == "elbo"


def test_retraining_needs_a_choice_and_many_cells_need_a_word():
    with pytest.raises(UsageError, match="--retrain: needs a choice"):
        _plan(retrain=True)
    with pytest.raises(AekitError, match="a grid of 1,001 cells"):
        _plan(latent="1-1001")


def test_cells_that_would_share_a_file_are_refused():
    with pytest.raises(AekitError, match="two image sets of the same name would share files"):
        _plan(data="a/x.npy,b/x.npy")
    with pytest.raises(AekitError, match=r"^--labels: two tables of labels of the same name would share files"):
        _plan(data="photos", labels="a/x.csv,b/x.csv")


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(AekitError, match="is a file, and a grid fills a folder"):
        _plan(tmp_path / "x")
