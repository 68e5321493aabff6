"""What training minimises: a file per objective, and the one that a run asks for."""

from __future__ import annotations

from aekit.images.config import Objective as Name
from aekit.images.config import TrainConfig
from aekit.images.models.base import Autoencoder
from aekit.images.objectives.base import Objective
from aekit.images.objectives.beta_tc import TotalCorrelationObjective
from aekit.images.objectives.capacity import CapacityObjective, FreeBitsObjective
from aekit.images.objectives.dip import CodeCovarianceObjective, MeanCovarianceObjective
from aekit.images.objectives.elbo import ElboObjective
from aekit.images.objectives.factor import DensityRatioObjective
from aekit.images.objectives.iwae import ImportanceWeightedObjective
from aekit.images.objectives.mmd import DiscrepancyObjective

OBJECTIVES: dict[Name, type[Objective]] = {
    "elbo": ElboObjective,
    "iwae": ImportanceWeightedObjective,
    "beta-tc": TotalCorrelationObjective,
    "factor": DensityRatioObjective,
    "dip-i": MeanCovarianceObjective,
    "dip-ii": CodeCovarianceObjective,
    "mmd": DiscrepancyObjective,
}


def build_objective(model: Autoencoder, train_config: TrainConfig) -> Objective:
    """Return what a model is trained on; for a plain autoencoder that is its reconstruction loss."""
    if not model.config.has_prior:
        return Objective(model, train_config)
    if train_config.capacity is not None:
        return CapacityObjective(model, train_config)
    if train_config.free_bits is not None:
        return FreeBitsObjective(model, train_config)
    # The importance-weighted bound of one sample is the evidence lower bound, whose KL divergence has no noise.
    is_elbo = train_config.objective == "iwae" and train_config.n_samples == 1 and not train_config.dreg
    name = "elbo" if is_elbo else train_config.objective
    return OBJECTIVES[name](model, train_config)
