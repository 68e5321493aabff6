import numpy as np
import pytest

from aekit.errors import AekitError
from aekit.images.config import DataConfig
from aekit.images.data.splits import official_rows, train_val_test


@pytest.mark.parametrize("is_test", [None, np.arange(100) % 3 == 0])
def test_splits_are_disjoint_and_complete(is_test):
    splits = train_val_test(100, DataConfig(val=0.25), is_test=is_test)
    assert splits.pop("all").tolist() == list(range(100))
    assert sorted(np.concatenate(list(splits.values()))) == list(range(100))
    assert all((np.diff(rows) > 0).all() for rows in splits.values())


def test_a_fifth_is_set_aside_where_there_is_no_test_split():
    splits = train_val_test(100, DataConfig(val=0.1))
    assert [len(rows) for rows in splits.values()] == [72, 8, 20, 100]


def test_an_official_test_split_is_kept():
    is_test = np.arange(10) >= 7
    assert train_val_test(10, DataConfig(val=0.5), is_test=is_test)["test"].tolist() == [7, 8, 9]
    assert official_rows(10, "test", DataConfig(val=0.5)).tolist() == list(range(10))


def test_official_validation_images_are_kept_and_no_others_set_aside():
    is_val = np.arange(100) < 30
    splits = train_val_test(100, DataConfig(), is_val=is_val)
    assert splits["val"].tolist() == list(range(30))
    assert len(splits["test"]) == 14  # a fifth of the others
    assert sorted(np.concatenate([splits["train"], splits["test"]])) == list(range(30, 100))
    with pytest.raises(AekitError, match=r"--val: .* has validation images of its own"):
        train_val_test(100, DataConfig(val=0.25), is_val=is_val)


def test_splits_depend_only_on_the_seed():
    one, again, other = (train_val_test(1000, DataConfig(val=0.1, split_seed=seed)) for seed in (1, 1, 2))
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(one[split], again[split])
        assert set(one[split]) != set(other[split])


def test_the_test_images_do_not_depend_on_the_fraction_for_validation():
    tests = [train_val_test(1000, DataConfig(val=val))["test"] for val in (0, 0.1, 0.5)]
    np.testing.assert_array_equal(tests[0], tests[1])
    np.testing.assert_array_equal(tests[0], tests[2])


def test_a_smaller_limit_selects_a_subset_of_a_larger_one():
    whole = train_val_test(1000, DataConfig())["train"]
    limited = {limit: train_val_test(1000, DataConfig(limit=limit))["train"] for limit in (10, 100, 5000)}
    assert len(limited[10]) == 10
    assert set(limited[10]) < set(limited[100]) < set(whole)
    np.testing.assert_array_equal(limited[5000], whole)
    assert (np.diff(limited[100]) > 0).all()


def test_a_limit_is_spread_over_the_split():
    rows = train_val_test(10_000, DataConfig(limit=500))["train"]
    assert abs(rows.mean() - 5000) < 500  # the mean of 500 uniform draws has a standard error of 129
