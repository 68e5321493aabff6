"""ComBat: location and scale of each site removed from features, while what covariates explain is kept.

It is fitted on some participants and applied to others of the same sites. A site that was not among those of the fit
has unknown location and scale: it cannot be corrected, and :meth:`Combat.transform` says so by raising an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aekit.core.text_table import named
from aekit.errors import AekitError, shown

Floats = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.floating]
Names = Sequence[str] | npt.NDArray[np.object_]

MIN_SHRUNK = 10  # features from which the spread of site effects over features is estimated
MIN_SCALED = 5  # participants of a site whose scale is corrected; of fewer, only the location is
_TOLERANCE, _MAX_STEPS = 1e-6, 1000


@dataclass(frozen=True, eq=False)
class Combat:
    """What each site adds to each feature, and by how much it stretches it.

    Attributes:
        sites: Names, (S,), sorted.
        n: Participants of each in the fit, (S,).
        grand_mean: Mean of each feature over sites, weighted by their participants, at covariates of zero, (F,).
        slopes: Change of each feature per unit of each covariate, (C, F).
        sd: Pooled residual SD of each feature, (F,).
        location: What each site adds, in units of ``sd``, (S, F).
        scale: Factor by which each site stretches residuals, (S, F).
    """

    sites: tuple[str, ...]
    n: npt.NDArray[np.int64]
    grand_mean: Floats
    slopes: Floats
    sd: Floats
    location: Floats
    scale: Floats

    def transform(self, features: FloatArray, site: Names, covariates: FloatArray | None = None) -> Floats:
        """Return features without the effects of sites, (N, F).

        Args:
            features: Features of participants of the fitted sites, (N, F).
            site: Their sites, (N,).
            covariates: The covariates of the fit, (N, C); None for none.

        Raises:
            AekitError: A site is not one of those of the fit.
        """
        place = {name: number for number, name in enumerate(self.sites)}
        if unseen := sorted({name for name in site if name not in place}):
            known = named(map(shown, self.sites))
            raise AekitError(
                f"site: {named(map(shown, unseen))} was not among the sites of the fit ({known}), "
                "so its effects are unknown and cannot be removed; leave it out, or fit with participants of it"
            )
        values = np.asarray(features, np.float64)
        number = np.array([place[name] for name in site], np.int64)
        explained = self.grand_mean + _covariates(covariates, len(values)) @ self.slopes
        residuals = (values - explained) / self.sd
        return np.asarray((residuals - self.location[number]) / self.scale[number] * self.sd + explained)


def fit_combat(
    features: FloatArray, site: Names, covariates: FloatArray | None = None, *, shrink: bool | None = None
) -> Combat:
    """Return the effects of sites on features, at equal covariates.

    Args:
        features: Features of the participants of the fit, (N, F), finite.
        site: Their sites, (N,), at least two, each with two participants or more.
        covariates: What is kept, such as age and sex, (N, C), finite; None for none. If a covariate can be computed
            from the site, its effect cannot be told from the site's.
        shrink: Shrink the effects of a site towards their mean over features (empirical Bayes), which steadies those of
            small sites; None does so from ten features on.

    Raises:
        AekitError: There are fewer than two sites, one has a single participant, a covariate is confounded with sites,
            or there are too few participants for the effects.

    Source:
        Johnson, Li & Rabinovic 2007, doi:10.1093/biostatistics/kxj037, section 3; for brains: Fortin et al. 2018,
        doi:10.1016/j.neuroimage.2017.11.024.
    """
    values = np.asarray(features, np.float64)
    names, number = np.unique(np.array([str(one) for one in site], dtype=object), return_inverse=True)
    own = _covariates(covariates, len(values))
    n = np.bincount(number)
    _check(names, n, own, number, values)
    indicators = np.eye(len(names))[number]
    design = np.hstack([indicators, own])
    coefficients = np.asarray(np.linalg.lstsq(design, values, rcond=None)[0], np.float64)
    grand_mean = n / len(values) @ coefficients[: len(names)]
    slopes = coefficients[len(names) :]
    sd = (values - design @ coefficients).std(axis=0)
    # The intercepts of all sites are in the design, so the mean of the residuals is zero.
    sd[~(sd > 1e-12 * np.maximum(np.abs(grand_mean), 1e-300))] = 1.0  # a constant feature, or one without residuals
    residuals = (values - grand_mean - own @ slopes) / sd
    location = np.stack([residuals[number == one].mean(axis=0) for one in range(len(names))])
    variance = np.stack([residuals[number == one].var(axis=0, ddof=1) for one in range(len(names))])
    variance[n < MIN_SCALED] = 1.0
    variance[variance <= 1e-12] = 1.0
    if values.shape[1] >= MIN_SHRUNK if shrink is None else shrink:
        for one in range(len(names)):
            is_scaled = bool(n[one] >= MIN_SCALED)
            location[one], variance[one] = _shrunk(
                residuals[number == one], location[one], variance[one], is_scaled=is_scaled
            )
    return Combat(tuple(names), n, grand_mean, slopes, sd, location, np.sqrt(variance))


def _covariates(covariates: FloatArray | None, n: int) -> Floats:
    return np.empty((n, 0)) if covariates is None else np.asarray(covariates, np.float64).reshape(n, -1)


def _check(
    names: npt.NDArray[np.object_], n: npt.NDArray[np.int64], own: Floats, number: npt.NDArray[np.int64], values: Floats
) -> None:
    if not np.isfinite(values).all() or not np.isfinite(own).all():
        raise ValueError("features and covariates must be finite")
    if len(names) < 2:
        raise AekitError("site: there is one site only; ComBat compares sites")
    if alone := [str(name) for name, size in zip(names, n, strict=True) if size < 2]:
        raise AekitError(f"site: {named(map(shown, alone))} has a single participant; leave out such sites")
    within = own - np.stack([own[number == one].mean(axis=0) for one in range(len(names))])[number]
    if own.shape[1] and np.linalg.matrix_rank(within) < own.shape[1]:
        raise AekitError(
            "site: a covariate is the same for all participants of each site, or follows from the others; its effect "
            "cannot be told from that of the sites"
        )
    if len(values) < len(names) + own.shape[1] + 2:
        raise AekitError(f"site: {len(values)} participants are too few for {len(names)} sites and their covariates")


def _shrunk(residuals: Floats, location: Floats, variance: Floats, *, is_scaled: bool) -> tuple[Floats, Floats]:
    """Return the posterior location and variance of one site, (F,) each, given those of its features.

    The priors, normal for the location and inverse gamma for the variance, have the moments of all features.
    """
    n = len(residuals)
    prior_mean, prior_variance = location.mean(), location.var(ddof=1)
    mean, spread = variance.mean(), variance.var(ddof=1)
    if not prior_variance > 0:
        return location, variance
    estimated = location
    scales = variance
    for _ in range(_MAX_STEPS):
        new = (n * prior_variance * location + scales * prior_mean) / (n * prior_variance + scales)
        squares = np.square(residuals - new).sum(axis=0)
        new_scales = scales
        if is_scaled and spread > 0:
            shape, rate = (2 * spread + mean**2) / spread, (mean * spread + mean**3) / spread
            new_scales = (0.5 * squares + rate) / (n / 2 + shape - 1)
        change = max(np.abs(new - estimated).max(), np.abs(new_scales - scales).max())
        estimated, scales = new, new_scales
        if change < _TOLERANCE:
            break
    return estimated, scales
