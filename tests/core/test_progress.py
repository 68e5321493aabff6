"""Progress: silent, or of one computation among several."""

from __future__ import annotations

from recorded import Recorded

from aekit.core.progress import SILENT, Labelled, Named


def test_notices_of_several_computations_carry_their_names():
    progress = Recorded(stop_after=2)
    for label in ("base", "H1"):
        own = Labelled(progress, label)
        own.notice("seed 0: volumes, test loss 0.5")
        own.update("training", 1, 4, detail=lambda: "half")
    assert progress.notices == [f"{label}: seed 0: volumes, test loss 0.5" for label in ("base", "H1")]
    assert progress.updates == [("base: training", 1, 4), ("H1: training", 1, 4)]
    assert own.should_stop() == 15


def test_nobody_stops_what_nobody_watches():
    SILENT.update("training", 1, 2)
    SILENT.notice("x")
    SILENT.table("t", ["a"], [[1]])
    assert SILENT.should_stop() is None


def test_lanes_of_a_labelled_computation_keep_their_own_names():
    progress = Recorded()
    run = Labelled(progress, "runs/grid")
    run.update("reading", 1, 2)
    run.update("latent 2", 1, 2, lane="latent 2")
    assert [what for what, *_ in progress.updates] == ["runs/grid: reading", "latent 2"]


def test_what_takes_long_in_a_study_is_named_and_its_notices_and_tables_are_not():
    progress = Recorded()
    study = Named(progress, "runs/tsne")
    study.update("optimising", 1, 2)
    study.notice("a.safetensors: has no labels")
    study.table("Maps", ["model"], [["a"]])
    assert progress.updates == [("runs/tsne: optimising", 1, 2)]
    assert progress.notices == ["a.safetensors: has no labels"]
    assert progress.tables == [("Maps", ["model"], [["a"]])]
    assert study.watched is progress
