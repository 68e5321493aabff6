"""Members of an ensemble: trained side by side in threads, kept in one checkpoint, averaged in predictions."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from aekit.brains.config import BrainConfig, BrainModelConfig, BrainTrainConfig, CohortConfig
from aekit.brains.data import BrainData
from aekit.brains.networks import Normalisation, is_clamped
from aekit.brains.tissue_model import WEIGHTS as TISSUE_WEIGHTS
from aekit.brains.training import (
    EVALUATION_BATCH,
    Cancelled,
    EpochRow,
    Member,
    Stage,
    TrainingSetup,
    build_network,
    check_stop,
    init_network,
    init_seed,
    stages_of,
    train_stage,
)
from aekit.brains.volumes.registration import WORKING_GRID
from aekit.brains.volumes.template import Template
from aekit.brains.voxel_model import TENSOR as VOXEL_WEIGHTS
from aekit.core.checkpoint import Header, read_header
from aekit.core.settings import from_dict
from aekit.core.weights import build_checked, read_tensors, write_checkpoint
from aekit.errors import AekitError

_TEMPLATE = "template"  # name of its tensor
Key = tuple[int, int]  # fold and seed
Floats = npt.NDArray[np.float64]


@dataclass
class Ensemble:
    """Networks by member and stage, and what goes with them in the checkpoint.

    Attributes:
        networks: By member and stage.
        history: Of their training.
        images: Other arrays by name.
        simple: Tensors of other models of age than networks, by name.
        template: What scans are aligned to; None if they are not.
    """

    networks: dict[Key, dict[Stage, nn.Module]] = field(default_factory=dict)
    history: list[EpochRow] = field(default_factory=list)
    images: dict[str, npt.NDArray[np.float16]] = field(default_factory=dict)
    simple: dict[str, Tensor] = field(default_factory=dict)
    template: Template | None = None

    def n_parameters(self) -> int:
        """Return the number of weights of all networks."""
        stages = (network for stages in self.networks.values() for network in stages.values())
        return sum(parameter.numel() for network in stages for parameter in network.parameters())


def train_members(
    members: Sequence[Member],
    setup: TrainingSetup,
    ensemble: Ensemble,
    *,
    threads: int,
    n_workers: int,
    save: Callable[[Ensemble], object],
) -> None:
    """Train what is missing in ``ensemble``, ``n_workers`` members at a time, and save after each stage.

    Each worker computes with an equal part of the threads: members side by side keep cores busier than one member whose
    threads share every operator.

    Raises:
        AekitError: A loss stopped being finite.
        Stopped: A signal asked for it.
    """
    check_stop(setup.progress)  # by the main thread, which alone may handle signals
    lock = threading.Lock()
    for member in members:  # before the threads start: none may change the dictionary while another one saves it
        ensemble.networks.setdefault((member.fold, member.seed), {})

    def work(member: Member) -> None:
        try:
            _train_member(member, setup, ensemble, lock, save)
        except BaseException:
            setup.cancelled.set()
            raise

    before = torch.get_num_threads()
    threads_per_worker = max(1, threads // n_workers)
    # The number of threads of an operator belongs to the thread that calls it.
    with ThreadPoolExecutor(n_workers, initializer=lambda: torch.set_num_threads(threads_per_worker)) as pool:
        _wait_for([pool.submit(work, member) for member in members], setup.cancelled)
    torch.set_num_threads(before)
    order = {stage: number for number, stage in enumerate(stages_of(setup.config))}
    ensemble.history.sort(key=lambda row: (order[row.stage], row.fold, row.seed, row.epoch, row.split != "train"))


def _train_member(
    member: Member,
    setup: TrainingSetup,
    ensemble: Ensemble,
    lock: threading.Lock,
    save: Callable[[Ensemble], object],
) -> None:
    """Train the stages of a member that are missing, and save after each."""
    own = ensemble.networks[member.fold, member.seed]
    for stage in stages_of(setup.config):
        if stage in own:
            continue
        if setup.cancelled.is_set():
            raise Cancelled
        with lock:  # initial weights are drawn from torch's only generator
            torch.manual_seed(init_seed(stage, member))
            network = init_network(stage, member, setup, own)
        history = train_stage(network, stage, member, setup)
        with lock:
            own[stage] = network
            ensemble.history += history
            save(ensemble)


def _wait_for(futures: Sequence[Future[None]], cancelled: threading.Event) -> None:
    """Wait for all members; the error of the one that failed ends the others."""
    try:
        for future in futures:
            with contextlib.suppress(Cancelled):  # the future that failed raises the reason
                future.result()
    except BaseException:
        cancelled.set()
        for future in futures:
            future.cancel()
        raise


class MemberPrediction(NamedTuple):
    """What one set of networks, or the mean of several, predicts for n scans; None if there is no such network.

    Attributes:
        tissues: From the image, in mL or as proportions, (n, 3).
        age_of_truth: Years, from the true volumes, (n,).
        chain_tissues: The volumes within the chained networks, (n, 3).
        chain_age: Years, by the chained networks, (n,).
        direct_age: Years, from the image, (n,).
        clamped: Fraction of members of which some network predicted an age outside 0 to 120 years, (n,); those ages
            entered the means as 0 or 120.
    """

    tissues: Floats | None = None
    age_of_truth: Floats | None = None
    chain_tissues: Floats | None = None
    chain_age: Floats | None = None
    direct_age: Floats | None = None
    clamped: Floats | None = None


def predict_members(
    all_networks: Iterable[dict[Stage, nn.Module]],
    data: BrainData,
    rows: npt.NDArray[np.int64],
    *,
    device: torch.device,
    mirrored: bool,
) -> MemberPrediction:
    """Return the mean prediction of several members for the participants in ``rows``.

    Args:
        all_networks: Those of each member, at least one.
        data: All participants; those without true volumes, (N, 0), have no age from true volumes.
        rows: Which of them, (n,).
        device: Where the networks are.
        mirrored: Average over each image and its mirror image, which flips in training made equally frequent.
    """
    predictions = [_predict_member(networks, data, rows, device, mirrored=mirrored) for networks in all_networks]
    means = [None if values[0] is None else np.mean(values, axis=0) for values in zip(*predictions, strict=True)]
    return MemberPrediction(*means)


def _predict_member(
    networks: dict[Stage, nn.Module],
    data: BrainData,
    rows: npt.NDArray[np.int64],
    device: torch.device,
    *,
    mirrored: bool,
) -> MemberPrediction:
    parts: dict[str, list[Tensor]] = {}

    def add(name: str, values: Tensor) -> None:
        parts.setdefault(name, []).append(values.double().cpu())

    def add_age(name: str, ages: list[Tensor]) -> None:
        add(name, _mean(ages))
        clamped.extend(is_clamped(one) for one in ages)

    with torch.inference_mode():
        for block in torch.split(torch.from_numpy(rows), EVALUATION_BATCH):
            batch = data.take(block, device)
            views = (batch.images, batch.images.flip(2)) if mirrored else (batch.images,)
            clamped: list[Tensor] = []
            if "volumes" in networks:
                add("tissues", _mean([networks["volumes"](view, batch.cumulative_ml) for view in views]))
            if "age" in networks and batch.tissues.shape[1]:
                add_age("age_of_truth", [networks["age"](batch.tissues)])
            if "chain" in networks:
                both = [networks["chain"](view, batch.cumulative_ml) for view in views]
                add("chain_tissues", _mean([tissues for tissues, _ in both]))
                add_age("chain_age", [age for _, age in both])
            if "direct" in networks:
                add_age("direct_age", [networks["direct"](view, batch.cumulative_ml) for view in views])
            if clamped:
                add("clamped", torch.stack(clamped).any(0))
    return MemberPrediction(**{name: torch.cat(values).numpy() for name, values in parts.items()})


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean(0)


def write_ensemble(path: Path, ensemble: Ensemble, header: Header) -> Path:
    """Return ``path`` with all networks, named ``fold.seed.stage.weight``, the header, and the other arrays."""
    tensors = {
        f"{fold}.{seed}.{stage}.{name}": value
        for (fold, seed), stages in sorted(ensemble.networks.items())
        for stage, network in stages.items()
        for name, value in network.state_dict().items()
    }
    tensors |= {name: torch.from_numpy(image) for name, image in ensemble.images.items()}
    tensors |= ensemble.simple
    if ensemble.template is not None:
        tensors[_TEMPLATE] = torch.from_numpy(ensemble.template.image)
    members = [[*key, *stages] for key, stages in sorted(ensemble.networks.items()) if stages]
    return write_checkpoint(path, tensors, replace(header, members=members))


def read_ensemble(path: Path, device: torch.device) -> tuple[Ensemble, BrainConfig, Header]:
    """Return the networks of a checkpoint, the configuration that they were trained with, and the header.

    Raises:
        AekitError: It cannot be read, holds something else, or the weights do not fit the header.
    """
    header = read_header(path)
    config = read_brain_config(path, header)
    n_bins = header.data.get("n_bins", 0)
    if not (_is_number(n_bins) and all(map(_is_number, config.data.size)) and len(config.data.size) == 3):
        raise AekitError(f"{path}: its header is damaged; train it again")
    if not _are_members(header.members):
        raise AekitError(f"{path}: its header is damaged; train it again")
    tensors = read_tensors(path, header)
    images = {name: value.half().numpy() for name, value in tensors.items() if name.startswith("quality.")}
    ensemble = Ensemble(
        images=images,
        simple={name: tensors[name] for name in (VOXEL_WEIGHTS, TISSUE_WEIGHTS) if name in tensors},
        template=_read_template(path, config, tensors),
    )
    for fold, seed, *stages in header.members or []:
        own = ensemble.networks.setdefault((fold, seed), {})
        for stage in stages:
            prefix = f"{fold}.{seed}.{stage}."
            weights = {name.removeprefix(prefix): v for name, v in tensors.items() if name.startswith(prefix)}
            build = partial(_build_empty, stage, config, n_bins)
            network = build_checked(build, weights, path)
            network.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
            own[stage] = network.eval()
    return ensemble, config, header


def _read_template(path: Path, config: BrainConfig, tensors: Mapping[str, Tensor]) -> Template | None:
    if config.data.register == "none":
        return None
    image = tensors.get(_TEMPLATE)
    if image is None or image.dtype != torch.float16 or tuple(image.shape) != WORKING_GRID.size:
        raise AekitError(f"{path}: its template is missing or damaged; train it again")
    return Template(image.numpy())


def _is_number(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _are_members(value: object) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(
        isinstance(one, list) and len(one) >= 2 and all(isinstance(key, int) for key in one[:2]) for one in value
    )


def read_brain_config(path: Path, header: Header) -> BrainConfig:
    """Return the configuration in the header of a checkpoint of brain networks.

    Raises:
        AekitError: It is a checkpoint of something else, or damaged.
    """
    if header.kind != "brain":
        raise AekitError(f"{path}: holds an autoencoder, not networks for brain images; give a checkpoint of mri-train")
    if header.model.get("features"):
        raise AekitError(
            f"{path}: holds models of columns of a table, not networks for brain images; give a checkpoint that "
            "mri-train made from --volumes"
        )
    known: dict[str, Any] = {key: header.data[key] for key in CohortConfig.__dataclass_fields__ if key in header.data}
    source = str(path)
    return BrainConfig(
        model=from_dict(BrainModelConfig, header.model, source),
        data=from_dict(CohortConfig, known, source),
        train=from_dict(BrainTrainConfig, header.train, source),
    )


def _build_empty(stage: Stage, config: BrainConfig, n_bins: int) -> nn.Module:
    return build_network(stage, config, _empty_normalisation(config, n_bins), n_bins)


def _empty_normalisation(config: BrainConfig, n_bins: int) -> Normalisation:
    tissues, one = torch.ones(3 if config.model.target else 0), torch.ones(())
    return Normalisation(tissues, tissues, one, one, torch.ones(2), torch.ones(n_bins), one)
