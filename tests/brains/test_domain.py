import json

import numpy as np
import pytest

from aekit.brains.domain import describe_seen, domain_warnings, usual_range
from aekit.brains.volumes.gridding import N_BINS
from aekit.brains.volumes.store import PreparedVolumes

N = 20


def volumes(n=N, *, seed=0, spacing_mm=(1.0, 1.0, 1.2), shape=(180, 210, 150), brain_ml=(1200, 1600), shift=0.0):
    """Return scans of one scanner: histograms about three peaks, which ``shift`` moves, in scaled intensity."""
    random = np.random.default_rng(seed)
    centres = (np.arange(N_BINS) + 0.5) * 1.28 / N_BINS
    brain = random.uniform(*brain_ml, n)
    histograms = np.zeros((n, N_BINS))
    for peak, share in ((0.35, 0.2), (0.65, 0.45), (0.95, 0.35)):
        middle = peak + shift + random.normal(0, 0.01, n)
        bumps = np.exp(-0.5 * ((centres - middle[:, None]) / 0.05) ** 2)
        histograms += share * brain[:, None] * bumps / bumps.sum(1, keepdims=True)
    return PreparedVolumes(
        images=np.zeros((n, 1, 1, 1), np.float16),
        histograms_ml=histograms.astype(np.float32),
        brain_ml=brain,
        scale=np.ones(n),
        spacing_mm=np.tile(spacing_mm, (n, 1)),
        shapes=[shape] * n,
        warnings={},
        fingerprint="",
        digests=[""] * n,
        bad={},
        blur=np.zeros(n),
        field_size=np.zeros(n),
    )


@pytest.fixture
def seen():
    """Return the ranges of all but the last two of twenty scans, as read from a header."""
    ages = np.linspace(20, 80, N)
    return json.loads(json.dumps(describe_seen(volumes(), ages, np.arange(N - 2))))


def test_the_ranges_are_those_of_train(seen):
    of = volumes()
    assert seen["age_years"] == [20, pytest.approx(20 + 60 * 17 / 19)]
    assert seen["brain_ml"] == [of.brain_ml[:-2].min(), of.brain_ml[:-2].max()]
    assert seen["spacing_mm"] == [1.0, 1.2]
    assert seen["shapes"] == [[180, 210, 150]]
    cumulative = np.cumsum(of.histograms_ml[:-2].astype(float), 1) / of.histograms_ml[:-2].sum(1, keepdims=True)
    np.testing.assert_allclose(seen["intensity"], np.median(cumulative, 0), atol=1e-6)
    assert seen["intensity"][-1] == pytest.approx(1)
    assert all(np.diff(seen["intensity"]) >= 0)


def test_a_scan_of_train_has_no_warning(seen):
    of = volumes()
    assert [domain_warnings(seen, of, row, [50.0]) for row in range(N - 2)] == [[]] * (N - 2)


def test_most_scans_of_the_same_scanner_have_no_warning(seen):
    new = volumes(200, seed=5, brain_ml=(1250, 1550))
    found = [domain_warnings(seen, new, row, [50.0]) for row in range(200)]
    assert sum(map(bool, found)) <= 20


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"spacing_mm": (1.0, 1.0, 1.3)},
            ["voxel size 1 x 1 x 1.3 mm differs from that of the training scans \\(1-1.2 mm\\)"],
        ),
        (
            {"spacing_mm": (0.9, 1.0, 1.2)},
            ["voxel size 0.9 x 1 x 1.2 mm differs from that of the training scans \\(1-1.2 mm\\)"],
        ),
        ({"spacing_mm": (0.9999, 1.0, 1.2001)}, []),
        (
            {"shape": (256, 256, 256)},
            [r"shape of 256x256x256 voxels \(x, y, z\) differs from that of the training scans \(180x210x150\)"],
        ),
        (
            {"brain_ml": (900, 901)},
            [r"brain volume 90\d mL is outside the usual range of the training \(12\d\d-1[56]\d\d mL\)"],
        ),
        ({"brain_ml": (2400, 2401)}, [r"brain volume 240\d mL is outside the usual range of the training"]),
        ({"shift": 0.15}, [r"intensities deviate from the mean \d+\.\d times as much as any training scan's"]),
        ({"shift": -0.15}, ["intensities "]),
    ],
)
def test_a_scan_outside_the_training_data_has_a_warning(seen, change, expected):
    from re import match

    found = domain_warnings(seen, volumes(3, seed=1, **{"brain_ml": (1350, 1400)} | change), 1, [50.0])
    assert len(found) == len(expected)
    for text, pattern in zip(found, expected, strict=True):
        assert match(pattern, text), text


@pytest.mark.parametrize(
    ("ages", "is_warned"), [([50.0], 0), ([19.0], 1), ([50.0, 81.0], 1), ([50.0, 73.0], 0), ([], 0)]
)
def test_an_age_outside_the_training_data_has_a_warning(seen, ages, is_warned):
    found = domain_warnings(seen, volumes(), 3, ages)
    assert found == ["predicted age is outside the usual range of the training (20-74 years)"] * is_warned


def test_all_warnings_are_given_at_once(seen):
    new = volumes(1, spacing_mm=(2.0, 2.0, 2.0), shape=(91, 109, 91), brain_ml=(300, 301), shift=0.2)
    assert len(domain_warnings(seen, new, 0, [5.0])) == 5


def test_after_training_on_many_shapes_there_is_no_warning_about_shape():
    of = volumes()
    of.shapes[:] = [(100 + row, 100, 100) for row in range(N)]
    ages = np.linspace(20, 80, N)
    assert len(describe_seen(of, ages, np.arange(8))["shapes"]) == 8
    seen = describe_seen(of, ages, np.arange(9))
    assert seen["shapes"] == []
    assert not [text for text in domain_warnings(seen, volumes(1), 0, []) if "voxels, trained" in text]


def test_phantoms_of_another_size_have_warnings(phantom_people, aekit, tmp_path):
    from aekit.brains.volumes.gridding import Grid
    from aekit.brains.volumes.store import prepare_volumes

    age_years, rows = phantom_people.cohort.age_years, np.arange(40)
    seen = describe_seen(phantom_people.volumes, age_years, rows)
    assert domain_warnings(seen, phantom_people.volumes, 7, [30.0]) == []
    folder = aekit("mri-phantom", "-n", 1, "--size", 24, "--jobs", 1, "-o", tmp_path / "fine").paths[0]
    finer = prepare_volumes(sorted((folder / "volumes").iterdir()), Grid((16, 16, 16), 12.0), jobs=1)
    found = domain_warnings(seen, finer, 0, [])
    assert found[:2] == [
        "voxel size 8 x 8 x 8 mm differs from that of the training scans (12 mm)",
        "shape of 24x24x24 voxels (x, y, z) differs from that of the training scans (16x16x16)",
    ]


def test_a_broken_scan_in_training_does_not_widen_the_ranges(seen):
    of, ages = volumes(), np.linspace(20, 80, N)
    of.brain_ml[3] = 7005.0
    of.histograms_ml[3] = 0
    of.histograms_ml[3, -1] = 7005.0
    ages[5] = 300.0
    swollen = describe_seen(of, ages, np.arange(N - 2))
    assert swollen["brain_ml"][1] < 1600
    assert swollen["age_years"][1] < 80
    assert swollen["intensity_distance"] < 1.5 * seen["intensity_distance"]
    new = volumes(5, seed=2, brain_ml=(2200, 2300), shift=0.1)
    for row in range(5):
        assert len(domain_warnings(swollen, new, row, [50.0])) == 2


def test_of_many_scans_half_a_percent_lie_beyond_each_end():
    low, high = usual_range(np.arange(1001.0))
    assert (low, high) == (5, 995)
    assert usual_range(np.array([4.0] * 30 + [9.0])) == (4, 9)
    assert usual_range(np.array([4.0])) == (4, 4)
