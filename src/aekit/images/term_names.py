"""What the terms of objectives are called, in files and in words. Standard library only."""

from __future__ import annotations

from aekit.images.config import ModelConfig, TrainConfig

USUAL = ("reconstruction", "kl", "mse")  # of every history, empty where an objective has no such term
_OWN: dict[str, tuple[str, ...]] = {
    "iwae": ("bound",),
    "beta-tc": ("mi", "tc", "dimension_kl"),
    "factor": ("tc",),
    "dip-i": ("dip",),
    "dip-ii": ("dip",),
    "mmd": ("mmd",),
}
# In a line on stderr; others have their own name.
SHORT = {
    "kl": "KL",
    "kl_top": "KL of the top layer",
    "mi": "MI",
    "tc": "TC",
    "dimension_kl": "dimension KL",
    "kl_free": "KL with free bits",
    "dip": "DIP",
    "mmd": "MMD²",
}
# Above a panel of a figure.
TITLES = {
    "total": "Total loss",
    "reconstruction": "Reconstruction",
    "kl": "KL divergence",
    "mse": "Mean squared error",
    "bound": "Importance-weighted bound",
    "kl_top": "KL divergence, top layer",
    "mi": "Mutual information",
    "tc": "Total correlation",
    "total_correlation": "Total correlation, all test images",
    "dimension_kl": "Dimension-wise KL",
    "kl_free": "KL with free bits",
    "dip": "Covariance penalty",
    "mmd": "MMD²",
}
UNITLESS = ("dip", "mmd")  # not in nats


def own_terms(model: ModelConfig, train: TrainConfig) -> tuple[str, ...]:
    """Return the terms that the objective of a run has besides the usual ones, in their order."""
    if not model.has_prior:
        return ()
    is_bound = train.objective == "iwae" and train.n_samples == 1  # which is the evidence lower bound
    own = () if is_bound else _OWN.get(train.objective, ())
    if train.free_bits is not None:
        own = ("kl_free",)
    is_layered = model.stochastic_layers == 2 and (train.objective == "elbo" or is_bound)
    return (*own, *(("kl_top",) if is_layered else ()))
