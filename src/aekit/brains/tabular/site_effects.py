"""ComBat for prediction: effects of sites are learned with the ages of train, and removed without anyone's age.

ComBat keeps what covariates explain: it moves and stretches residuals around the value that is expected at the age of a
participant. Of somebody whose age is to be predicted, that value must not enter: it would carry the true age into the
features, and any model would find it there. So the expected value is that of an *estimated* age, from a ridge
regression on features from which the site's shift, which needs no age, was removed. The train participants are treated
in the same way, each with an age that was estimated without them, so that a model meets the same features in training
and afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aekit.brains.measures.age_trend import sex_code
from aekit.brains.measures.combat import fit_combat
from aekit.brains.tabular.models import Ridge, fit_ridge_features
from aekit.errors import AekitError

Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.object_]

MIN_OF_SITE = 2  # participants in train for the effects of a site to be known
_N_PARTS = 5  # in which the ages of train are estimated


@dataclass(frozen=True, eq=False)
class SiteEffects:
    """What sites do to features, and what is needed to remove it.

    Attributes:
        sites: Names, (S,).
        shift: What each site adds, in units of the features, (S, F).
        scale: By what it stretches residuals, (S, F).
        expected: Features at covariates of zero, then their change with sex, age and the square of age, (4, F).
        age_centre: Age that counts as zero, years.
        age_spread: Years that count as one.
        estimate: Ages from shifted features.
    """

    sites: tuple[str, ...]
    shift: Floats
    scale: Floats
    expected: Floats
    age_centre: float
    age_spread: float
    estimate: Ridge

    def knows(self, site: Names) -> npt.NDArray[np.bool_]:
        """Return whose site was among those of the fit, (N,)."""
        return np.array([name in self.sites for name in site], np.bool_)

    def remove(self, features: Floats, site: Names, sex: Names) -> Floats:
        """Return features without the effects of sites, (N, F); those of an unknown site stay as they are.

        Args:
            features: (N, F).
            site: Names of sites, (N,); None or empty where missing.
            sex: "F", "M" or anything else, (N,).
        """
        return self._remove(features, site, sex, self.estimate)

    def _remove(self, features: Floats, site: Names, sex: Names, estimate: Callable[[Floats], Floats]) -> Floats:
        number, known = _numbers(self.sites, site)
        moved = np.where(known[:, None], features - self.shift[number], features)
        scaled = known & (self.scale[number] != 1).any(axis=1)
        if scaled.any():
            ages = (estimate(moved) - self.age_centre) / self.age_spread
            columns = np.column_stack([np.ones(len(ages)), sex_code(sex), ages, ages**2])
            expected = columns @ self.expected
            stretched = expected + (moved - expected) / self.scale[number]
            moved = np.where(scaled[:, None] & (self.scale[number] != 1), stretched, moved)
        return moved


def fit_site_effects(features: Floats, site: Names, sex: Names, age_years: Floats) -> tuple[SiteEffects, Floats] | None:
    """Return the effects of sites, and the features of the train participants without them, (N, F).

    None if fewer than two sites have two participants: there is nothing to compare.

    Args:
        features: Of the train participants, (N, F), finite.
        site: Names of their sites, (N,); None or empty where missing.
        sex: Their sex, (N,).
        age_years: Their ages, (N,).

    Raises:
        AekitError: Age or sex cannot be told from the site.
    """
    names = sorted({name for name in site if isinstance(name, str) and name and (site == name).sum() >= MIN_OF_SITE})
    own = np.isin(site.astype(str), names)
    if len(names) < 2:
        return None
    centre, spread = float(age_years[own].mean()), float(age_years[own].std()) or 1.0
    ages = (age_years - centre) / spread
    covariates = np.column_stack([sex_code(sex), ages, ages**2])
    kept = _independent(covariates[own], site[own])
    _refuse_confounded(covariates[own][:, kept], site[own], np.array(("sex", "age", "age"))[kept])
    able = _varying(features[own], sex[own])
    combat = fit_combat(features[own][:, able], site[own], covariates[own][:, kept])
    expected = np.zeros((4, features.shape[1]))
    expected[0, able] = combat.grand_mean
    expected[np.ix_(np.flatnonzero(kept) + 1, np.flatnonzero(able))] = combat.slopes
    shift, scale = np.zeros((len(names), len(able))), np.ones((len(names), len(able)))
    shift[:, able], scale[:, able] = combat.location * combat.sd, combat.scale
    number, known = _numbers(combat.sites, site)
    moved = np.where(known[:, None], features - shift[number], features)
    estimate = fit_ridge_features(moved, age_years)
    effects = SiteEffects(combat.sites, shift, scale, expected, centre, spread, estimate)
    estimated = _estimated_ages(moved, age_years)
    return effects, effects._remove(features, site, sex, lambda _: estimated)


def _numbers(sites: tuple[str, ...], site: Names) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the place of each site among those that are known, 0 for others, and whether it is one of them."""
    place = {name: number for number, name in enumerate(sites)}
    number = np.array([place.get(name, -1) for name in site], np.int64)
    return np.maximum(number, 0), number >= 0


def _varying(features: Floats, sex: Names) -> npt.NDArray[np.bool_]:
    """Return which features differ among participants of the same sex, (F,): sex itself has no effect of sites."""
    found = np.zeros(features.shape[1], np.bool_)
    for name in ("F", "M"):
        own = features[sex == name]
        found |= np.ptp(own, axis=0) > 0 if len(own) else False
    return found if found.any() else np.ones(len(found), np.bool_)


def _independent(covariates: Floats, site: Names) -> npt.NDArray[np.bool_]:
    """Return which covariates are kept, (3,): sex and age if they vary, age squared if it is more than these tell.

    That age can be told from the site is left to :func:`_refuse_confounded`.
    """
    kept = np.ptp(covariates, axis=0) > 0
    within = covariates.copy()
    for name in np.unique(site.astype(str)):
        own = site == name
        within[own] -= within[own].mean(axis=0)
    if kept[2] and np.linalg.matrix_rank(within[:, kept]) < kept.sum():
        kept[2] = False
    return np.asarray(kept, np.bool_)


def _refuse_confounded(covariates: Floats, site: Names, names: npt.NDArray[np.str_]) -> None:
    """Raise an AekitError that names what is the same for all participants of each site."""
    within = covariates.copy()
    for name in np.unique(site.astype(str)):
        own = site == name
        within[own] -= within[own].mean(axis=0)
    if not len(names) or np.linalg.matrix_rank(within) == len(names):
        return
    fixed = np.ptp(within, axis=0) <= 1e-12
    told = " and ".join(dict.fromkeys(names[fixed] if fixed.any() else names))
    raise AekitError(
        f"--combat: {told} can be told from the site, in all data or in the train of a fold: its effect cannot be told "
        "from that of the sites; leave --combat out, or add participants"
    )


def _estimated_ages(features: Floats, age_years: Floats) -> Floats:
    """Return the age of each train participant by ridge regression on others, (N,)."""
    part = np.arange(len(features)) % _N_PARTS
    ages = np.empty(len(features))
    for number in np.unique(part):
        own = part == number
        ages[own] = fit_ridge_features(features[~own], age_years[~own])(features[own])
    return ages
