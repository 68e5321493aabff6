"""What training minimises: a file per objective, and the one that a run asks for."""

from __future__ import annotations

from aekit.images.config import Objective as Name
from aekit.images.config import TrainConfig
from aekit.images.models.base import Autoencoder
from aekit.images.objectives.base import Objective
from aekit.images.objectives.elbo import ElboObjective
from aekit.images.objectives.iwae import ImportanceWeightedObjective

OBJECTIVES: dict[Name, type[Objective]] = {
    "elbo": ElboObjective,
    "iwae": ImportanceWeightedObjective,
}


def build_objective(model: Autoencoder, train_config: TrainConfig) -> Objective:
    """Return what a model is trained on; for a plain autoencoder that is its reconstruction loss."""
    if not model.config.has_prior:
        return Objective(model, train_config)
    # The importance-weighted bound of one sample is the evidence lower bound, whose KL divergence has no noise.
    is_elbo = train_config.objective == "iwae" and train_config.n_samples == 1 and not train_config.dreg
    name = "elbo" if is_elbo else train_config.objective
    return OBJECTIVES[name](model, train_config)
