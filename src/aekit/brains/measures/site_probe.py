"""How well the site of a scan can be told from features: what a model can know of the scanner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold

from aekit.brains.measures.age_trend import age_sex_design, fit_age_basis

Floats = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.floating]
Names = Sequence[str] | npt.NDArray[np.object_]

N_FOLDS = 5
MIN_OF_SITE = 10  # participants of a site that is probed: two in each fold
MAX_COMPONENTS = 20
_NORMAL_95 = 1.96
# Hits of one cross-validation are not independent, as the fits share participants. Over 150 draws of 60 to 200
# participants of two or three sites, the SD of the accuracy was 1.2 (sites that differ) to 1.4 (sites that do not)
# times that of independent hits; without this factor 85 to 93 % of intervals held the expected accuracy, with it 94 to
# 100 %.
_SHARED_FITS = 1.4


@dataclass(frozen=True)
class SiteProbe:
    """Balanced accuracy of predicting the site of participants who were not used in the fit.

    Attributes:
        sites: Names of the sites that were probed.
        n: Participants.
        accuracy: Mean over sites of the fraction of their participants that is recognised, in [0, 1].
        low: Lower end of its 95 % interval.
        high: Upper end.
        chance: 1 / number of sites.
    """

    sites: tuple[str, ...]
    n: int
    accuracy: float
    low: float
    high: float
    chance: float


def large_sites(site: npt.NDArray[np.object_]) -> tuple[str, ...]:
    """Return the names of sites with at least ten participants, sorted; objects that are not text are missing."""
    names, n = np.unique(np.array([one for one in site if isinstance(one, str)], dtype=object), return_counts=True)
    return tuple(str(name) for name, size in zip(names, n, strict=True) if size >= MIN_OF_SITE)


def probe_sites(
    features: FloatArray,
    site: npt.NDArray[np.object_],
    *,
    seed: int = 0,
    age_years: FloatArray | None = None,
    sex: npt.NDArray[np.object_] | None = None,
) -> SiteProbe | None:
    """Return how well sites can be told from features, or None if fewer than two have ten participants.

    A linear discriminant analysis with shrunken covariance and equal priors, on at most twenty principal components, is
    fitted in five folds; everything is fitted on the other folds. Participants of small sites and without a site, and
    rows that are not finite, are left out.

    Args:
        features: Features, (N, F).
        site: Names of sites, (N,); anything that is not text is missing.
        seed: Seed of the folds.
        age_years: Ages, (N,), whose trend, by sex, is removed first, so that sites are not told by their ages.
        sex: "F", "M" or anything else, (N,); needed with ages.

    Source:
        Dufumier et al. 2022, doi:10.1016/j.neuroimage.2022.119637, who report the balanced accuracy of a site probe.
    """
    values = np.asarray(features, np.float64)
    rows = np.isfinite(values).all(axis=1)
    if age_years is not None:
        rows &= np.isfinite(age_years)
    sites = large_sites(site[rows])
    if len(sites) < 2:
        return None
    rows &= np.isin(site.astype(str), sites) & np.array([isinstance(one, str) for one in site])
    y = np.searchsorted(sites, site[rows].astype(str))
    design = None
    if age_years is not None:
        ages, sexes = age_years[rows], np.full(rows.sum(), None, object) if sex is None else sex[rows]
        design = age_sex_design(fit_age_basis(ages), ages, sexes)
    x = values[rows]
    n = np.bincount(y)
    recalls = np.bincount(y, _recognised(x, y, design, seed)) / n
    accuracy = float(recalls.mean())
    # Agresti and Coull's two successes and two failures per site: an interval of some width even if all are recognised.
    centred = (recalls * n + 2) / (n + 4)
    half = _SHARED_FITS * _NORMAL_95 * math.sqrt(float((centred * (1 - centred) / (n + 4)).sum())) / len(n)
    middle = float(centred.mean())
    return SiteProbe(
        sites=sites,
        n=len(y),
        accuracy=accuracy,
        low=max(0.0, min(middle - half, accuracy)),
        high=min(1.0, max(middle + half, accuracy)),
        chance=1 / len(sites),
    )


def openbhb_score(external_mae_years: float, site_accuracy: float) -> float:
    """Return MAE on unseen sites times the balanced accuracy of a site probe to the power of 0.3; less is better.

    Args:
        external_mae_years: Mean absolute error of age on sites that the model was not trained on.
        site_accuracy: Balanced accuracy of telling sites from the features that it predicts from, in [0, 1].

    Source:
        Dufumier et al. 2022, doi:10.1016/j.neuroimage.2022.119637, the score of the OpenBHB challenge.
    """
    return external_mae_years * math.pow(site_accuracy, 0.3)


def _recognised(x: Floats, y: npt.NDArray[np.int64], design: FloatArray | None, seed: int) -> Floats:
    """Return 1 for participants whose site was told by a fit without them, else 0, (N,)."""
    hits = np.zeros(len(y))
    for train, held_out in StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(x, y):
        own, other = x[train], x[held_out]
        if design is not None:
            slopes = np.linalg.lstsq(design[train], own, rcond=None)[0]
            own, other = own - design[train] @ slopes, other - design[held_out] @ slopes
        mean, sd = own.mean(axis=0), own.std(axis=0)
        # One scale for all features keeps rare histogram bins and voxels at the edge from weighing as much as the rest.
        scale = sd if x.shape[1] <= MAX_COMPONENTS else np.sqrt(np.square(sd).mean())
        scale = np.where(scale > 0, scale, 1.0)
        own, other = (own - mean) / scale, (other - mean) / scale
        if x.shape[1] > MAX_COMPONENTS:
            pca = PCA(min(MAX_COMPONENTS, len(own) - 1), svd_solver="full").fit(own)
            own, other = pca.transform(own), pca.transform(other)
        n_sites = int(y.max()) + 1
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=np.full(n_sites, 1 / n_sites))
        hits[held_out] = model.fit(own, y[train]).predict(other) == y[held_out]
    return hits
