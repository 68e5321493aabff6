import csv
from collections import Counter

import numpy as np
import pytest
from quality_cohort import phantom

from aekit.brains.cohort.phantom import run_phantom
from aekit.brains.cohort.phantom_damage import (
    DAMAGE,
    HEADER_DAMAGE,
    ROW_DAMAGE,
    SCAN_DAMAGE,
    damage_of,
    damage_scan,
    swapped_pairs,
)
from aekit.errors import UsageError

SPACING = (8.0,) * 3


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return the same cohort without and with damage to half of it."""
    folder = tmp_path_factory.mktemp("damage")
    for name, broken in (("clean", 0.0), ("broken", 0.5)):
        run_phantom(60, folder / name, size=20, broken=broken, jobs=1)
    return folder / "clean", folder / "broken"


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_untouched_participants_keep_their_bytes_and_their_rows(folders):
    clean, broken = folders
    damage = {row["participant_id"]: row["damage"] for row in rows(broken / "qc.tsv")}
    assert Counter(map(bool, damage.values()))[False] >= 28
    for before, after in zip(rows(clean / "participants.tsv"), rows(broken / "participants.tsv"), strict=True):
        kind = damage[before["participant_id"]]
        same = (clean / before["file"]).read_bytes() == (broken / after["file"]).read_bytes()
        assert same == (kind == "" or kind in ROW_DAMAGE), kind
        assert (before == after) == (kind not in ROW_DAMAGE), kind


def test_without_damage_there_is_no_column_for_it(folders):
    clean, broken = folders
    assert "damage" not in rows(clean / "qc.tsv")[0]
    assert all("damage" not in row for row in rows(broken / "participants.tsv"))


def test_two_participants_have_each_others_age(folders):
    _, broken = folders
    damage = [row["damage"] for row in rows(broken / "qc.tsv")]
    swapped = [number for number, kind in enumerate(damage) if kind == "swapped-ages"]
    before, after = ([row["age"] for row in rows(folder / "participants.tsv")] for folder in folders)
    assert len(swapped) == 2
    assert [after[number] for number in swapped] == [before[number] for number in reversed(swapped)]
    assert len({before[number] for number in swapped}) == 2


def test_every_kind_is_as_frequent_as_any_other():
    counts = Counter(damage_of(number, 0.1, 4) for number in range(10 * len(DAMAGE) * 3))
    assert {counts[kind] for kind in DAMAGE} <= {2, 3, 4}
    assert counts[""] == pytest.approx(27 * len(DAMAGE), abs=3)


def test_damage_depends_on_the_participant_and_not_on_how_many_there_are():
    random = np.random.default_rng(0)
    ages, sexes = random.uniform(10, 80, 200).tolist(), random.choice(["F", "M"], 200).tolist()
    for kind in ROW_DAMAGE:
        few = swapped_pairs(ages[:100], sexes[:100], kind, 0.2, 1)
        assert few == [pair for pair in swapped_pairs(ages, sexes, kind, 0.2, 1) if pair[1] < 100]
        assert few


@pytest.mark.parametrize("kind", SCAN_DAMAGE)
def test_a_damaged_scan_differs_and_the_original_stays_as_it_was(phantom_image, kind):
    before = phantom_image.copy()
    image, spacing = damage_scan(kind, phantom_image, SPACING, np.random.default_rng(1))
    assert np.array_equal(phantom_image, before)
    assert spacing == SPACING
    assert image.shape == before.shape
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() > 0
    assert not np.array_equal(image, before)


@pytest.mark.parametrize("kind", ["inverted", "blurred", "noisy", "ghosting", "spikes", "stripes", "saturated"])
def test_damage_to_intensities_leaves_the_mask_as_it_was(phantom_image, kind):
    image, _ = damage_scan(kind, phantom_image, SPACING, np.random.default_rng(1))
    assert np.array_equal(image > 0, phantom_image > 0)


@pytest.mark.parametrize("kind", HEADER_DAMAGE)
def test_damage_to_the_header_leaves_the_voxels_as_they_were(phantom_image, kind):
    image, spacing = damage_scan(kind, phantom_image, SPACING, np.random.default_rng(1))
    assert np.array_equal(image, phantom_image)
    assert spacing != SPACING
    assert min(spacing) >= 0.1
    assert max(spacing) <= 20


@pytest.mark.parametrize("broken", [-0.1, 0.6, float("nan")])
def test_a_fraction_that_leaves_too_few_undamaged_is_refused(tmp_path, broken):
    with pytest.raises(UsageError, match="--broken"):
        run_phantom(4, tmp_path / "p", size=20, broken=broken)


@pytest.fixture(scope="module")
def phantom_image():
    return phantom(0)
