"""The two files of a run on images: the finished model, and the state from which ``--resume`` continues."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch

from aekit.core.adamw import MOMENTS
from aekit.core.checkpoint import Header, damaged_state, read_header, read_state_header
from aekit.core.muon import MOMENTUM
from aekit.core.settings import from_dict
from aekit.core.weights import build_checked, load_weights, read_tensors, write_checkpoint
from aekit.errors import AekitError
from aekit.images.config import ModelConfig
from aekit.images.models import build_model
from aekit.images.models.base import Autoencoder, ImageShape
from aekit.images.models.own import Builder
from aekit.images.record import read_classes
from aekit.images.reference_outputs import REFERENCE, check_reference
from aekit.images.steps import Run
from aekit.images.term_names import USUAL
from aekit.images.training import Row, State


def read_model(
    path: Path,
    device: torch.device,
    *,
    header: Header | None = None,
    is_verified: bool = False,
    parts: Builder | None = None,
    onto: Autoencoder | None = None,
) -> tuple[Autoencoder, Header]:
    """Return a checkpoint's network on ``device``, ready to encode and decode, and its header.

    Args:
        path: The checkpoint.
        device: Where the network goes.
        header: As :func:`read_header` returned it; None reads it.
        is_verified: Whether this very file passed :func:`aekit.core.weights.check_intact` before.
        parts: Builds the parts of a network of your own.
        onto: A network on ``device`` that is no longer needed: if this checkpoint differs from it in nothing but its
            weights, it takes them and is returned.

    Raises:
        AekitError: As :func:`read_header`, or the weights are not those of the network in the header; or this is a
            network of your own, and ``parts`` is missing or another function.
    """
    header = header or read_header(path)
    if header.state is not None:
        finished = path.with_name(path.name.replace(".resume.", "."))
        raise AekitError(f"{path}: is an unfinished run; finish it with --resume and use {finished.name}")
    if header.kind == "brain":
        raise AekitError(f"{path}: contains brain-image networks, not an autoencoder; use aekit mri-predict")
    shape = header.data.get("shape")
    if not (isinstance(shape, list) and len(shape) == 3 and all(isinstance(n, int) and n > 0 for n in shape)):
        raise AekitError(f"{path}: its header gives no image shape; train it again")
    config, image_shape = from_dict(ModelConfig, header.model, str(path)), (shape[0], shape[1], shape[2])
    class_names = read_classes(header, str(path))

    weights = read_tensors(path, header, is_verified=is_verified)
    if onto is not None and _is_such_a_network(onto, config, image_shape, class_names):
        load_weights(onto, weights, path, is_finite=is_verified)
        model = onto
    elif config.own_builder is None:
        model = build_checked(
            lambda: build_model(config, image_shape, class_names), weights, path, is_finite=is_verified
        )
    else:
        model = _build_own(config, image_shape, class_names, parts, weights, path)
        check_reference(model, header.result.get(REFERENCE), str(path))
    model.name, model.header = str(path), header
    return (model if model is onto else model.to(device)).eval(), header


def _is_such_a_network(
    model: Autoencoder, config: ModelConfig, image_shape: ImageShape, class_names: tuple[str, ...]
) -> bool:
    """Return whether a network is one that :func:`build_model` would build; one of your own may have changed."""
    own_names = () if model.classes is None else model.classes.names
    return (
        config.own_builder is None
        and (model.config, model.image_shape) == (config, image_shape)
        and own_names == class_names
    )


def _build_own(
    config: ModelConfig,
    image_shape: ImageShape,
    class_names: tuple[str, ...],
    parts: Builder | None,
    weights: dict[str, torch.Tensor],
    path: Path,
) -> Autoencoder:
    """Return a network of your own with its weights in it."""
    try:
        model = build_model(config, image_shape, class_names, parts=parts)
    except AekitError as error:
        raise AekitError(f"{path}: {error}") from error
    own = {name: value.shape for name, value in model.state_dict().items()}
    if own != {name: value.shape for name, value in weights.items()}:
        raise AekitError(
            f"{path}: its weights are not of the network that {config.own_builder} builds; give that function as it was"
        )
    load_weights(model, weights, path)
    return model


def write_state(path: Path, run: Run, state: State, header: Header) -> Path:
    """Return ``path`` with everything that is needed to continue a run: see :class:`aekit.images.training.State`."""
    tensors = {f"model.{name}": value for name, value in run.model.state_dict().items()}
    for name, parameter in run.model.named_parameters():
        moments = run.optimizer.state.get(parameter, {})  # none before the first step
        tensors |= {f"optimizer.{key}.{name}": value for key, value in moments.items()}
    tensors |= {f"best.{name}": value for name, value in state.best_weights.items()}
    tensors |= {f"best_objective.{name}": value for name, value in state.best_objective.items()}
    tensors |= {f"objective.{name}": value for name, value in run.objective.state().items()}
    tensors |= {"noise": run.noise.get_state(), "terms": state.terms}
    where = {
        "epoch": state.epoch,
        "step": state.step,
        "seconds": state.seconds,
        "terms": list(run.objective.names),
        "history": [row.to_dict() for row in state.history],
        "best_total": state.best_total if math.isfinite(state.best_total) else None,
        "best_epoch": state.best_epoch,
    }
    return write_checkpoint(path, tensors, replace(header, state=where))


def read_state(path: Path, run: Run) -> State:
    """Return where an unfinished run stands, after putting weights, optimiser and noise back into ``run``.

    Raises:
        AekitError: The file is damaged or does not belong to such a run.
    """
    header = read_state_header(path)
    where = header.state or {}
    try:
        tensors = read_tensors(path, header)
    except AekitError as error:
        raise damaged_state(path) from error
    load_weights(run.model, _strip_prefix(tensors, "model."), path)
    try:
        for name, parameter in run.model.named_parameters():
            if moments := _moments(tensors, name, parameter):
                run.optimizer.state[parameter] = moments
        run.noise.set_state(tensors["noise"])
        run.objective.load_state(_strip_prefix(tensors, "objective."))
        names = where.get("terms", list(USUAL))  # a state that is older than names has these
        terms = tensors["terms"]
        if (
            terms.ndim != 2
            or terms.shape[1] != len(names)
            or not 0 <= where["step"] <= len(terms)
            or where["epoch"] < 0
        ):
            raise ValueError("its losses do not fit its step")
        return State(
            epoch=where["epoch"],
            step=where["step"],
            seconds=where["seconds"],
            terms=terms[:, [names.index(name) for name in run.objective.names]].to(run.images.device),
            history=[Row.from_dict(row) for row in where["history"]],
            best_total=math.inf if where["best_total"] is None else where["best_total"],
            best_epoch=where["best_epoch"],
            best_weights=_strip_prefix(tensors, "best."),
            best_objective=_strip_prefix(tensors, "best_objective."),
        )
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise AekitError(f"{path}: is damaged ({error}); start over with --overwrite") from error


def _moments(tensors: dict[str, torch.Tensor], name: str, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what the optimiser remembers of a parameter; nothing before its first step."""
    if f"optimizer.{MOMENTUM}.{name}" in tensors:
        kinds: tuple[str, ...] = ("step", MOMENTUM)
    elif f"optimizer.step.{name}" in tensors:
        kinds = MOMENTS
    else:
        return {}
    # The fused optimiser walks through memory, so moments must lie there in the order of their weights.
    empty = {kind: parameter.new_empty(()) if kind == "step" else torch.empty_like(parameter) for kind in kinds}
    with torch.no_grad():
        return {kind: value.copy_(tensors[f"optimizer.{kind}.{name}"]) for kind, value in empty.items()}


def _strip_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
