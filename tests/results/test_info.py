"""A checkpoint is described in a few lines, as far as its header goes."""

from __future__ import annotations

from aekit.core.checkpoint import Header, read_header
from aekit.core.progress import Silent
from aekit.results.info import describe, run_info


def test_lines_say_what_it_is(vae_checkpoint):
    first, *lines = describe(vae_checkpoint, read_header(vae_checkpoint))
    assert first.startswith(f"{vae_checkpoint} (")
    assert [line.split()[0] for line in lines] == ["model", "data", "training", "ran", "result"]


def test_a_brain_is_described_in_words_and_plain_numbers(vae_checkpoint):
    metrics = [
        {"model": "chain", "target": "age_years", "split": "test", "mae": 11.0, "mae_low": 8.257, "mae_high": 123.4},
    ]
    header = Header(
        {"kind": "brain", "arch": "base"},
        {"name": "x.tsv", "shape": [32, 32, 32], "spacing_mm": 6.0, "people": 80, "val": 0.15},
        {"augment": ["flip", "shift", "gain"], "lr": 3e-3},
        result={
            "judged": "test",
            "metrics": metrics,
            "seen": {"age_years": [6.5, 79.54], "brain_ml": [1103.6, 1776.2], "spacing_mm": [6.0, 6.0]},
        },
    )
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in describe(vae_checkpoint, header)[1:]}
    assert lines["data"] == "x.tsv, 32x32x32 voxels (x, y, z), spacing_mm 6, participants 80, val 0.15"
    assert lines["training"] == "augment flip, shift, gain, lr 0.003"
    assert lines["result"] == "test MAE: chain 11.0 [8.26, 123] years"
    assert lines["seen"] == "age_years 6.5 to 79.54, brain_ml 1,104 to 1,776, spacing_mm 6"


def test_a_checkpoint_that_is_named_twice_is_described_once(vae_checkpoint, ae_checkpoint):
    notices, lines = [], []

    class Listener(Silent):
        def notice(self, text: str) -> None:
            notices.append(text)

    checkpoints = [vae_checkpoint, str(vae_checkpoint), ae_checkpoint]
    results = list(run_info(checkpoints, on_line=lines.append, progress=Listener()))
    assert [result.path for result in results] == [vae_checkpoint, ae_checkpoint]
    assert results[0].values == read_header(vae_checkpoint).entries
    assert notices == [f"{vae_checkpoint}: is named twice; it is taken once"]
    assert sum(line.startswith("  model") for line in lines) == 2
