"""A sweep from Python: it yields what was trained, and reports what failed at its end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from aekit.core.progress import Silent
from aekit.errors import AekitError, Stopped
from aekit.images.runs import Machine
from aekit.images.sweep import study
from aekit.images.sweep.outcomes import Failed
from aekit.images.sweep.plan import plan_sweep
from aekit.images.sweep.study import run_sweep

MACHINE = Machine(Path("/nowhere"))


class Shown(Silent):
    """Progress that keeps notices and the titles of tables."""

    def __init__(self) -> None:
        self.notices, self.titles = [], []

    def notice(self, text) -> None:
        self.notices.append(text)

    def table(self, title, columns, rows) -> None:
        self.titles.append((title, list(columns), list(rows)))


def _plan(folder, **options):
    given = {"model": "vae", "data": "digits", "latent": "2,4", "seed": "0,1", "val": "0.2"}
    return plan_sweep(given, folder, **options)


def _train(make_done, fails=()):
    """Return what stands in for training: a total that grows with latent and seed, and failures."""

    def train(cells, machine, *, jobs, overwrite, on_outcome, progress):
        outcomes = []
        for cell in reversed(cells):
            settings = {"latent": cell.config.model.latent, "seed": cell.config.train.seed}
            done = make_done(90.0 + settings["latent"] + settings["seed"], **settings)
            outcome = Failed(cell, "no luck") if settings in fails else type(done)(cell, done.header)
            outcomes.insert(0, outcome)
            on_outcome(outcome)
        return outcomes

    return train


def test_every_checkpoint_is_yielded_in_order_with_its_test_results(make_done, tmp_path):
    plan, shown = _plan(tmp_path / "grid"), Shown()
    results = list(run_sweep(plan, MACHINE, _train(make_done), progress=shown))
    assert [result.path for result in results] == [cell.path for cell in plan.cells]
    assert [result.values["total"] for result in results] == [92.0, 93.0, 94.0, 95.0]
    assert results[0].values["parameters"] == 7
    assert sorted(path.name for path in plan.folder.iterdir()) == ["curves.png", "results.csv", "results.png"]
    assert pd.read_csv(plan.folder / "results.csv")["latent"].tolist() == [2, 2, 4, 4]
    assert shown.notices[0].startswith(f"{tmp_path / 'grid'}: 4 of 4 cells trained in ")
    ((title, columns, rows),) = shown.titles
    assert (title, columns[:3], len(rows)) == (
        f"{tmp_path / 'grid'}: 4 cells, validation images",
        ["latent", "seed", "val total"],
        4,
    )


@pytest.mark.slow
def test_grids_of_the_same_cells_have_folders_of_their_own_for_events(make_done, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []

    def train(cells, machine, **options):
        seen.append(machine.tensorboard)
        return _train(make_done)(cells, machine, **options)

    for folder in ("g9", "in/g10", "in/../g11", "."):
        list(run_sweep(_plan(Path(folder)), replace(MACHINE, tensorboard=Path("tb")), train))
    assert seen == [Path("tb/g9"), Path("tb/g10"), Path("tb/g11"), Path("tb") / tmp_path.name]
    list(run_sweep(_plan(Path("g12")), MACHINE, train))
    assert seen[-1] is None


@pytest.mark.slow
def test_the_best_alone_is_yielded_and_named(make_done, tmp_path):
    plan, shown = _plan(tmp_path / "grid", best="elbo"), Shown()
    (result,) = run_sweep(plan, MACHINE, _train(make_done), progress=shown)
    assert result.path == plan.cells[0].path
    assert shown.notices[-1] == (
        f"{tmp_path / 'grid'}: "
        "lowest reconstruction + KL on validation images, by the mean over seeds, and of these the best seed: "
        "latent 2, seed 0"
    )


@pytest.mark.slow
def test_the_best_is_trained_again_on_all_images_if_asked_for(make_done, tmp_path):
    plan = _plan(tmp_path / "grid", best="elbo", retrain=True)
    (result,) = run_sweep(plan, MACHINE, _train(make_done))
    # No --val in its name, and as many epochs as those of the weights that were best.
    assert result.path == tmp_path / "grid" / "vae-digits-conv-z2-seed0-epochs1.safetensors"


@pytest.mark.slow
def test_trained_again_it_takes_the_epochs_of_the_best_and_nothing_that_needs_validation(make_done, tmp_path):
    trained = []

    def train(cells, machine, **options):
        trained.extend(cells)
        return _train(make_done)(cells, machine, **options)

    given = {"model": "vae", "data": "digits", "val": "0.2", "epochs": "9", "keep": "best", "patience": "3"}
    plan = plan_sweep(given | {"beta_warmup": "2", "schedule": "constant"}, tmp_path / "x", best="elbo", retrain=True)
    list(run_sweep(plan, MACHINE, train))
    again = trained[-1]
    assert again.config.data.val == 0
    train_config = again.config.train  # of make_done, whose best epoch is the first
    assert (train_config.epochs, train_config.keep, train_config.patience) == (1, "last", None)
    assert (train_config.beta_warmup, train_config.schedule) == (1.0, "constant")


@pytest.mark.slow
def test_cells_that_failed_end_the_sweep_after_the_others_were_yielded(make_done, tmp_path):
    plan, found = _plan(tmp_path / "grid"), []
    sweep = run_sweep(plan, MACHINE, _train(make_done, fails=[{"latent": 4, "seed": 0}]))
    with pytest.raises(AekitError, match=r"1 of 4 cells failed, the first latent 4, seed 0: no luck"):
        found.extend(iter(sweep))
    assert pd.read_csv(plan.folder / "results.csv")["status"].tolist() == ["done", "done", "failed", "done"]


def test_a_grid_of_failures_leaves_its_table_and_no_figures(make_done, tmp_path):
    plan = _plan(tmp_path / "grid")
    fails = [{"latent": latent, "seed": seed} for latent in (2, 4) for seed in (0, 1)]
    with pytest.raises(AekitError, match="4 of 4 cells failed"):
        list(run_sweep(plan, MACHINE, _train(make_done, fails)))
    assert [path.name for path in plan.folder.iterdir()] == [study.TABLE]


def test_a_signal_while_the_figures_are_drawn_ends_the_sweep_with_its_code(make_done, tmp_path, monkeypatch):
    class Interrupted(Silent):
        is_drawn = False

        def should_stop(self):
            return 2 if self.is_drawn else None

    progress = Interrupted()
    monkeypatch.setattr(study, "write_summary", lambda *_: setattr(progress, "is_drawn", True))
    with pytest.raises(Stopped, match="stopped after all cells were trained") as stopped:
        list(run_sweep(_plan(tmp_path / "grid"), MACHINE, _train(make_done), progress=progress))
    assert stopped.value.signal_number == 2
