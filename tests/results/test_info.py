"""A checkpoint is described in a few lines, as far as its header goes."""

from __future__ import annotations

from aekit.core.checkpoint import read_header
from aekit.core.progress import Silent
from aekit.results.info import describe, run_info


def test_lines_say_what_it_is(vae_checkpoint):
    first, *lines = describe(vae_checkpoint, read_header(vae_checkpoint))
    assert first.startswith(f"{vae_checkpoint} (")
    assert [line.split()[0] for line in lines] == ["model", "data", "training", "ran", "result"]


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
