"""The model card of a checkpoint: Markdown with a header of YAML, as model hubs read it.

Source:
    Mitchell et al. 2019, arXiv:1810.03993, on what a card says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from aekit import __version__
from aekit.core.settings import as_text
from aekit.errors import count, shown
from aekit.images.catalog import CATALOG
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.sizes import in_words

_Z95 = 1.96
_ROWS = {  # of the table of results: what evaluate calls it, its name, its unit
    "total": ("loss", "nats per image"),
    "reconstruction": ("reconstruction", "nats per image"),
    "kl": ("KL divergence", "nats per image"),
    "mse": ("MSE", "per pixel"),
    "psnr": ("PSNR", "dB"),
    "ssim": ("SSIM", ""),
    "log_p": ("importance-weighted bound on log p(x)", "nats per image"),
}


def build_card(
    checkpoint: LoadedCheckpoint, evaluation: Mapping[str, Any] | None, *, weights: str, snippet_name: str
) -> str:
    """Return a model card: what the model is, its data, options and results, its limits, and how to load it.

    No licence is named, as the checkpoint has none.

    Args:
        checkpoint: The model.
        evaluation: Means and standard errors of ``evaluate``, its ``n``, ``split``; None takes those of the training.
        weights: Name of the file of the weights.
        snippet_name: Name of the folder, as a title.
    """
    sections = [
        _front_matter(checkpoint),
        f"# {_plain(snippet_name)}\n\n{_about(checkpoint)}",
        f"## Data\n\n{_data(checkpoint)}",
        f"## Training\n\n{_options(checkpoint)}",
        f"## Results\n\n{_results(checkpoint, evaluation)}",
        f"## Limits\n\n{_limits(checkpoint)}",
        f"## Use\n\n{_use(checkpoint, weights)}",
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(checkpoint: LoadedCheckpoint) -> str:
    model = checkpoint.record.model
    tags = [
        "aekit",
        "autoencoder",
        *(["variational-autoencoder"] if model.has_prior else []),
        "representation-learning",
    ]
    lines = ["library_name: aekit", "pipeline_tag: image-feature-extraction", "tags:"]
    return "\n".join(["---", *lines, *(f"- {tag}" for tag in tags), "---"])


def _about(checkpoint: LoadedCheckpoint) -> str:
    model = checkpoint.record.model
    what = "A variational autoencoder" if model.has_prior else "An autoencoder"
    n = checkpoint.header.result.get("parameters")
    size = f", {count(n, 'parameter')}" if isinstance(n, int) else ""
    text = (
        f"{what} of images with {in_words(checkpoint.model.image_shape)}: {checkpoint.title}{size}. "
        f"Trained with aekit {checkpoint.header.aekit or __version__}."
    )
    if model.is_conditional:
        text += f" It is told the class of each image: {_plain(', '.join(checkpoint.record.class_names))}."
    return text


def _data(checkpoint: LoadedCheckpoint) -> str:
    data, known = checkpoint.record.data, CATALOG.get(checkpoint.record.data.name)
    name = data.name if known else PurePath(data.name).name  # where it lay on a disk is no one's business
    lines = [f"- images: {_plain(name)}" + (f", {known.about}" if known else "")]
    for split, part in checkpoint.header.data.get("splits", {}).items():
        fingerprint = f", fingerprint `{_plain(part['fingerprint'])[:12]}`" if "fingerprint" in part else ""
        lines.append(f"- {_plain(split)}: {count(part.get('n', 0), 'image')}{fingerprint}")
    if checkpoint.record.value_range is not None:
        lines.append("- pixel values that became 0 and 1: {:g} and {:g}".format(*checkpoint.record.value_range))
    if known:
        lines.append(f"- licence of the images, as far as it is known: {known.licence}")
    return "\n".join(lines)


def _options(checkpoint: LoadedCheckpoint) -> str:
    header = checkpoint.header
    rows = [(name, value) for part in (header.model, header.train) for name, value in part.items() if value is not None]
    rows += [
        (name, header.data.get(name)) for name in ("image_size", "grayscale", "limit", "val", "split_seed", "binarize")
    ]
    rows += [(f"ran on: {name}", value) for name, value in header.ran_on.items()]
    cells = [(f"`{_cell(name)}`", _cell(as_text(value))) for name, value in rows if value is not None]
    return _table(("option", "value"), cells)


def _results(checkpoint: LoadedCheckpoint, evaluation: Mapping[str, Any] | None) -> str:
    is_mse = checkpoint.record.model.loss == "mse"
    units = {
        name: "mean square" if is_mse and name in ("total", "reconstruction") else _ROWS[name][1] for name in _ROWS
    }
    if evaluation is None:
        found = checkpoint.header.result.get("test", {})
        split = found.get("split", "test")
        rows = [(_ROWS[name][0], f"{found[name]:.5g}", units[name]) for name in _ROWS if _is_number(found.get(name))]
        text = f"On the {_plain(split)} images, by the training itself; MSE is that of one sample of the posterior."
        return f"{text}\n\n{_table(('', 'mean', 'unit'), rows)}" if rows else "None is recorded."
    cells = [
        (_ROWS[name][0], f"{evaluation[name]:.5g}", _interval(evaluation, name), units[name])
        for name in _ROWS
        if name in evaluation
    ]
    n = count(evaluation["n"], f"{evaluation['split']} image")
    text = (
        f"On {n}, by `aekit evaluate`. Intervals are the mean ± 1.96 standard errors over images: they are of this one "
        "training, not of others with another seed."
    )
    return f"{text}\n\n{_table(('', 'mean', '95 % interval', 'unit'), cells)}"


def _interval(evaluation: Mapping[str, Any], name: str) -> str:
    if f"{name}_error" not in evaluation:
        return ""
    mean, half = evaluation[name], _Z95 * evaluation[f"{name}_error"]
    return f"[{mean - half:.5g}, {mean + half:.5g}]"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _limits(checkpoint: LoadedCheckpoint) -> str:
    shape = checkpoint.model.image_shape
    lines = [
        f"- Trained on one set of images of {in_words(shape)} with values in [0, 1]; on others it was not evaluated.",
        "- Evaluated for how well it reconstructs held-out images of this set, not for any use of its codes, its "
        "samples or its reconstructions; not for fairness between groups, nor for decisions about people.",
        "- A reconstruction is not a measurement: it shows what is usual in the training images.",
    ]
    if checkpoint.record.model.has_prior and checkpoint.record.model.loss == "bernoulli":
        lines.append(
            "- With grey pixels the Bernoulli loss is a cross-entropy and not a density: do not read it as bits."
        )
    lines.append("- The weights have no licence here. Whoever publishes them chooses one (`license:` in the header).")
    return "\n".join(lines)


def _use(checkpoint: LoadedCheckpoint, weights: str) -> str:
    extra = ", label" if checkpoint.model.classes is not None else ""
    decode = ", label=label" if extra else ""
    classes = "\n\n`label` is the number of each class, an int64 tensor (N,), in the order above." if extra else ""
    channels, height, width = checkpoint.model.image_shape
    return (
        f"In Python, with images x, floats in [0, 1], (N, {channels}, {height}, {width}):\n\n"
        f'```python\nimport aekit\n\nmodel = aekit.load("{weights}")\n'
        f"z = model.encode(x{extra})\nx_hat = model.decode(z{decode})\n```{classes}\n\n"
        f"In a shell:\n\n```sh\naekit info {weights}\naekit reconstruct {weights} --data folder-of-images\n```"
    )


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _plain(text: object) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|" else c for c in shown(" ".join(str(text).split())))


def _cell(text: object) -> str:
    return shown(" ".join(str(text).split())).replace("|", "\\|")
