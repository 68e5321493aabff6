import numpy as np
import pytest

from aekit.brains.volumes.tissue_peaks import REFERENCE, TissueScale, fit_tissue_scale

PEAKS, FRACTIONS = (250.0, 600.0, 900.0), (0.15, 0.47, 0.38)


def brain(n=30_000, peaks=PEAKS, fractions=FRACTIONS, seed=0):
    """Return intensities of three tissues, each scattered by 6 %, and the tissue of each."""
    random = np.random.default_rng(seed)
    tissue = random.choice(3, n, p=fractions)
    return (np.array(peaks)[tissue] * np.exp(random.normal(0, 0.06, n))).astype(np.float32), tissue


def test_the_peaks_of_planted_tissues_are_found_and_put_in_their_places():
    values, tissue = brain()
    scale = fit_tissue_scale(values)
    np.testing.assert_allclose(scale.peaks, PEAKS, rtol=0.01)
    scaled = scale.apply(values)
    for number, place in enumerate(REFERENCE):
        assert np.median(scaled[tissue == number]) == pytest.approx(place, abs=0.01)


@pytest.mark.parametrize("power", [0.6, 1.0, 1.5])
@pytest.mark.parametrize("gain", [0.01, 300.0])
def test_gain_and_contrast_change_the_scaled_tissues_by_little(power, gain):
    values, tissue = brain()
    plain, other = values, (gain * (values / 900) ** power).astype(np.float32)
    moved = [np.abs(fit_tissue_scale(each).apply(each)) for each in (plain, other)]
    for number in range(3):
        first, second = (np.median(each[tissue == number]) for each in moved)
        assert second == pytest.approx(first, abs=0.01)


def test_other_fractions_of_tissue_do_not_move_the_scale():
    # An old brain: much fluid, little grey matter. A percentile falls on another tissue then.
    old = fit_tissue_scale(brain(fractions=(0.30, 0.37, 0.33))[0])
    np.testing.assert_allclose(old.peaks, PEAKS, rtol=0.02)


def test_the_map_rises_keeps_zero_and_goes_on_beyond_white_matter():
    scale = TissueScale((200.0, 500.0, 800.0))
    values = np.linspace(0, 2000, 101, dtype=np.float32)
    scaled = scale.apply(values)
    assert scaled[0] == 0
    assert (np.diff(scaled) > 0).all()
    assert scale.apply(np.float32([scale.unit]))[0] == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(np.diff(scaled[values > 800]), scale.slope * 20, rtol=1e-3)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(600, 20, 20_000).astype(np.float32),
        np.full(20_000, 5, np.float32),
        np.zeros(20_000, np.float32),
        brain(500)[0],
    ],
    ids=["one tissue", "one value", "black", "few voxels"],
)
def test_without_three_tissues_there_is_no_map(values):
    assert fit_tissue_scale(values) is None
