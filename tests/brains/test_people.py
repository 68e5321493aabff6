import shutil
from types import SimpleNamespace

import nibabel
import numpy as np
import pandas as pd
import pytest

from aekit.brains.cohort.table import read_cohort
from aekit.brains.config import CohortConfig, Source
from aekit.brains.measures.outliers import fit_outlier_limits
from aekit.brains.people import (
    Participants,
    People,
    build_folds,
    describe_held_out,
    describe_splits,
    gather_people,
    report_people,
)
from aekit.core.progress import Silent
from aekit.errors import AekitError

GRID = CohortConfig(size=(8, 8, 8), spacing_mm=24.0, correct_bias=False)


def people_of(cohort):
    return Participants(cohort, pd.DataFrame())  # cutting looks at the table alone


@pytest.fixture
def table_of(cohort_of):
    """Return a function that makes n people whose volumes go with age and sex, and any columns besides."""

    def make(n=100, seed=0, **columns):
        random = np.random.default_rng(seed)
        ages = random.uniform(10, 80, n).round(2)
        sex = random.choice(["F", "M"], n)
        ml = np.array([900, 500, 150]) + np.outer(ages, [-4, 0, 2]) + 50 * (sex == "M")[:, None]
        ml = (ml + random.normal(0, 25, (n, 3))).round(3)
        known = {"participant_id": [f"p{row:03}" for row in range(n)], "age": ages, "sex": sex}
        return {**known, "gmv": ml[:, 0], "wmv": ml[:, 1], "csfv": ml[:, 2], **columns}

    return make


@pytest.fixture
def folder_progress():
    """Return a function that lists what is said about a cohort."""

    def said(cohort):
        progress = Notices()
        volumes = SimpleNamespace(warnings={})
        report_people(People(cohort, pd.DataFrame(), volumes), progress)
        return progress.notices

    return said


class Notices(Silent):
    def __init__(self):
        self.notices = []

    def notice(self, text):
        self.notices.append(text)


# --- folds ---


def test_a_single_split_has_each_participant_once_in_the_right_fractions(cohort_of, table_of):
    (fold,) = build_folds(people_of(cohort_of(**table_of())), CohortConfig(val=0.15, test=0.2), "absolute")
    assert (len(fold.train), len(fold.held_out["val"]), len(fold.held_out["test"])) == (65, 15, 20)
    everyone = np.concatenate([fold.train, *fold.held_out.values()])
    assert sorted(everyone) == list(range(100))
    assert len(fold.dropped) == len(fold.flagged) == 0


def test_folds_cover_everyone_once_and_never_train_on_their_own(cohort_of, table_of):
    folds = build_folds(people_of(cohort_of(**table_of())), CohortConfig(cv=5, val=0.0, test=0.0), "absolute")
    assert [fold.number for fold in folds] == [0, 1, 2, 3, 4]
    assert sorted(np.concatenate([fold.held_out["cv"] for fold in folds])) == list(range(100))
    for fold in folds:
        assert set(fold.held_out) == {"cv"}
        assert sorted([*fold.train, *fold.held_out["cv"]]) == list(range(100))


def test_with_folds_the_test_people_are_in_none_of_them(cohort_of, table_of):
    people = people_of(cohort_of(**table_of()))
    folds = build_folds(people, CohortConfig(cv=4, val=0.0, test=0.2), "absolute")
    test = folds[0].held_out["test"]
    assert len(test) == 20
    assert all(np.array_equal(fold.held_out["test"], test) for fold in folds)
    pool = sorted(set(range(100)) - set(test))
    assert sorted(np.concatenate([fold.held_out["cv"] for fold in folds])) == pool
    assert all(not set(test) & {*fold.train, *fold.held_out["cv"]} for fold in folds)
    (single,) = build_folds(people, CohortConfig(val=0.0, test=0.2), "absolute")
    assert np.array_equal(single.held_out["test"], test)  # the same people, however the others are cut


def test_the_split_seed_alone_determines_the_split(cohort_of, table_of):
    people = people_of(cohort_of(**table_of()))
    first, again, other = (
        build_folds(people, CohortConfig(cv=3, val=0, test=0, split_seed=seed), "absolute") for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a.train, b.train) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].train, other[0].train)


def test_with_folds_everybody_who_is_held_out_is_counted(cohort_of, table_of):
    people = people_of(cohort_of(**table_of()))
    folds = build_folds(people, CohortConfig(cv=4, val=0.0, test=0.2), "absolute")
    assert describe_splits(people, folds, drops_outliers=False) == "100 participants, cv 80 in 4 folds, test 20"
    (one,) = build_folds(people, CohortConfig(val=0.15, test=0.2), "absolute")
    assert describe_splits(people, [one], drops_outliers=False) == "100 participants, train 65, val 15, test 20"


@pytest.mark.parametrize("config", [CohortConfig(cv=3, val=0, test=0, group="site"), CohortConfig(group="site")])
def test_groups_are_kept_together(cohort_of, table_of, config):
    sites = np.random.default_rng(1).choice(list("abcdefghijklm"), 100)
    for fold in build_folds(people_of(cohort_of(**table_of(site=sites))), config, "absolute"):
        parts = [set(sites[rows]) for rows in (fold.train, *fold.held_out.values())]
        assert sum(map(len, parts)) == len(set(sites))  # none of them in two


@pytest.mark.parametrize(
    "config",
    [
        CohortConfig(),
        CohortConfig(cv=5, val=0, test=0),
        CohortConfig(cv=3, val=0, test=0.2),
        CohortConfig(group="site"),
        CohortConfig(cv=3, val=0, test=0, group="site"),
    ],
)
def test_sessions_of_one_participant_are_in_one_split_and_one_fold(cohort_of, table_of, config):
    # Sites change between the sessions of some, who then tie two sites together.
    persons = np.array([f"sub-{row // 3:02}" for row in range(100)])
    ids = [f"{one}_ses-{row % 3}" for row, one in enumerate(persons)]
    sites = np.array([f"{row // 6}{'x' if row == 20 else ''}" for row in range(100)])
    columns = {**table_of(), "participant_id": ids, "site": sites}
    for fold in build_folds(people_of(cohort_of(**columns)), config, "absolute"):
        parts = [fold.train, *fold.held_out.values()]
        for names in (persons, sites) if config.group else (persons,):
            assert sum(len(set(names[rows])) for rows in parts) == len(set(names))


def test_a_column_that_divides_the_sessions_of_a_participant_is_refused(cohort_of, table_of):
    ids = [f"sub-{row // 2:02}_ses-{row % 2}" for row in range(100)]
    part = np.array(["train"] * 71 + ["test"] * 29)
    cohort = cohort_of(**{**table_of(), "participant_id": ids, "part": part})
    with pytest.raises(AekitError, match=r"sessions of one participant in several splits: sub-35; put them"):
        build_folds(people_of(cohort), CohortConfig(test="part"), "absolute")


def test_a_table_with_a_column_of_sessions_keeps_them_together_and_says_so(cohort_of, table_of, folder_progress):
    persons = np.array([f"sub-{row // 2:02}" for row in range(100)])
    cohort = cohort_of(**{**table_of(), "participant_id": persons, "session_id": ["ses-1", "ses-2"] * 50})
    for fold in build_folds(people_of(cohort), CohortConfig(cv=4, val=0, test=0), "absolute"):
        assert not set(persons[fold.train]) & set(persons[fold.held_out["cv"]])
    assert any("50 participants have several sessions (100 rows of 50" in text for text in folder_progress(cohort))


def test_a_column_can_assign_the_splits(cohort_of, table_of):
    said = np.array(["train"] * 70 + ["test"] * 20 + ["validation"] * 10)
    people = people_of(cohort_of(**table_of(part=said)))
    (fold,) = build_folds(people, CohortConfig(test="part"), "absolute")
    assert fold.train.tolist() == list(range(70))
    assert fold.held_out["test"].tolist() == list(range(70, 90))
    assert fold.held_out["val"].tolist() == list(range(90, 100))
    folds = build_folds(people, CohortConfig(cv=2, val=0, test="part"), "absolute")
    pool = {*range(70), *range(90, 100)}  # with folds nobody need validate
    assert set(np.concatenate([fold.held_out["cv"] for fold in folds])) == pool
    assert all(fold.held_out["test"].tolist() == list(range(70, 90)) for fold in folds)


def test_an_error_about_a_missing_column_names_those_that_exist(cohort_of, table_of):
    people = people_of(cohort_of(**table_of(site=["a"] * 100)))
    with pytest.raises(AekitError, match=r"^--group: people\.csv has no column 'sit', only participant_id, .*'site'\?"):
        build_folds(people, CohortConfig(group="sit"), "absolute")
    with pytest.raises(AekitError, match=r"has no column .*fold.* \(it has participant_id, age"):
        build_folds(people, CohortConfig(test="fold"), "absolute")


def test_shares_that_leave_nobody_for_train_are_refused(cohort_of, table_of):
    with pytest.raises(AekitError, match=r"^--val, --test-split: 0\.5 and 0\.5 leave no participants for train"):
        build_folds(people_of(cohort_of(**table_of())), CohortConfig(val=0.5, test=0.5), "absolute")


@pytest.mark.parametrize("config", [CohortConfig(val=0.1, test=0.2), CohortConfig(cv=2, val=0, test=0)])
def test_fewer_than_ten_train_participants_are_an_error(cohort_of, table_of, config):
    with pytest.raises(
        AekitError, match=r"^people\.csv: \d participants left for train, at least 10 are needed; add more$"
    ):
        build_folds(people_of(cohort_of(**table_of(12))), config, "absolute")


# --- outliers ---


@pytest.mark.parametrize("target", ["absolute", "proportion"])
def test_outliers_are_dropped_from_train_by_limits_of_train_alone(cohort_of, table_of, target):
    plain = table_of(120)
    config = CohortConfig(val=0.15, test=0.2, drop_outliers=True)
    (before,) = build_folds(people_of(cohort_of(**plain)), CohortConfig(val=0.15, test=0.2), target)
    in_train, in_test = int(before.train[7]), int(before.held_out["test"][3])
    for row in (in_train, in_test):
        plain["csfv"][row] += 900
    people = people_of(cohort_of(**plain))
    (fold,) = build_folds(people, config, target)
    assert in_train in fold.dropped
    assert in_train not in fold.train
    assert sorted([*fold.train, *fold.dropped]) == sorted(before.train)
    assert in_test in fold.held_out["test"]
    for split, rows in before.held_out.items():
        assert np.array_equal(fold.held_out[split], rows)
    # By hand: limits of the train people, applied to them.
    values, cohort = people.tissues(target), people.cohort
    limits = fit_outlier_limits(values[before.train], cohort.age_years[before.train], cohort.sex[before.train])
    flags = limits.flag(values, cohort.age_years, cohort.sex)
    assert fold.dropped.tolist() == [row for row in before.train if flags[row]]
    assert len(fold.dropped) < 10


def test_who_is_held_out_does_not_move_the_limits(cohort_of, table_of):
    plain = table_of(120)
    config = CohortConfig(cv=3, val=0, test=0, drop_outliers=True)
    first = build_folds(people_of(cohort_of(**plain)), config, "absolute")
    extreme = first[0].held_out["cv"][::8]
    plain["gmv"][extreme] *= 3
    second = build_folds(people_of(cohort_of(**plain)), config, "absolute")
    assert np.array_equal(first[0].dropped, second[0].dropped)
    assert np.array_equal(first[0].train, second[0].train)
    assert set(second[0].flagged) >= set(extreme)  # the stratum whose error is told
    assert set(extreme) <= set(second[0].held_out["cv"])
    assert set(second[1].dropped) >= set(extreme)


def test_without_volumes_outliers_cannot_be_dropped(cohort_of, table_of):
    people = people_of(cohort_of(**table_of()))
    with pytest.raises(AekitError, match=r"^--drop-outliers: .*tissue volumes"):
        build_folds(people, CohortConfig(drop_outliers=True), None)


def test_tissues_are_those_that_the_target_asks_for(cohort_of, table_of):
    people = people_of(cohort_of(**table_of(12)))
    np.testing.assert_allclose(people.tissues("proportion").sum(1), 1)
    assert people.tissues("absolute")[0].tolist() == list(people.cohort.table.loc[0, ["gmv", "wmv", "csfv"]])
    assert people.tissues(None).shape == (12, 0)


# --- files ---


@pytest.fixture
def folder(phantom_cohort, tmp_path):
    """Return a folder with 14 of the phantoms, of which the table may be changed."""
    (tmp_path / "t1").mkdir()
    table = pd.read_csv(phantom_cohort / "participants.tsv", sep="\t", dtype={"participant_id": str}).head(14)
    for who in table["participant_id"]:
        shutil.copy(phantom_cohort / "volumes" / f"{who}_T1w.nii.gz", tmp_path / "t1")
    table.drop(columns="file").to_csv(tmp_path / "people.tsv", sep="\t", index=False)
    return tmp_path


def gather(folder, *, target="absolute", skip_bad=False, change=None):
    path = folder / "people.tsv"
    if change is not None:
        table = pd.read_csv(path, sep="\t", dtype=str)
        change(table)
        table.to_csv(path, sep="\t", index=False)
    source = Source(path, folder / "t1", skip_bad=skip_bad)
    return gather_people(read_cohort(path, skip_bad=skip_bad), source, GRID, target=target, jobs=1)


def reasons(people):
    return {row.participant_id or row.file: row.reason for row in people.left_out.itertuples()}


def test_participants_without_a_file_an_age_or_a_volume_are_left_out_and_listed(folder):
    (folder / "t1" / "sub-0003_T1w.nii.gz").unlink()
    shutil.copy(folder / "t1" / "sub-0001_T1w.nii.gz", folder / "t1" / "sub-0999_T1w.nii.gz")

    def change(table):
        table.loc[4, "age"] = "n/a"
        table.loc[6, "gmv"] = "n/a"

    people = gather(folder, change=change)
    assert reasons(people) == {
        "sub-0003": "no volume file",
        "sub-0005": "no age",
        "sub-0007": "a tissue volume is missing",
        "sub-0999_T1w.nii.gz": "no row in the table",
    }
    assert len(people.cohort) == len(people.volumes.images) == 11
    assert "sub-0007" in set(gather(folder, target=None).cohort.table["participant_id"])  # ages need no volumes


def test_rows_of_the_table_and_images_are_in_the_same_order(folder):
    def shuffle(table):
        table[:] = table.sample(frac=1, random_state=0).to_numpy()

    people = gather(folder, change=shuffle)
    ids = list(people.cohort.table["participant_id"])
    assert ids != sorted(ids)
    # The phantom's brain has the volume that its own row states.
    stated = people.cohort.volumes_ml.sum(1)
    np.testing.assert_allclose(people.volumes.brain_ml, stated, rtol=1e-6)


def test_the_same_scan_under_two_ids_is_an_error_that_names_both(folder):
    shutil.copy(folder / "t1" / "sub-0002_T1w.nii.gz", folder / "t1" / "sub-0009_T1w.nii.gz")
    with pytest.raises(
        AekitError, match=r"^--volumes: two ids have the same scan \(sub-0002 and sub-0009\); .*--skip-bad$"
    ):
        gather(folder)
    people = gather(folder, skip_bad=True)
    assert reasons(people) == dict.fromkeys(("sub-0002", "sub-0009"), "the same scan as another's")
    assert len(people.cohort) == 12


def test_the_same_scan_packed_anew_is_still_the_same_scan(folder):
    image = nibabel.load(folder / "t1" / "sub-0002_T1w.nii.gz")
    (folder / "t1" / "sub-0009_T1w.nii.gz").unlink()
    nibabel.save(image, folder / "t1" / "sub-0009_T1w.nii")
    with pytest.raises(AekitError, match="sub-0002 and sub-0009"):
        gather(folder)


def test_bad_volumes_are_named_all_at_once_or_left_out_and_listed(folder):
    for who in ("sub-0002", "sub-0005"):
        path = folder / "t1" / f"{who}_T1w.nii.gz"
        path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(AekitError, match=r"2 of 14 volumes cannot be used: sub-0002_T1w.*sub-0005_T1w.*--skip-bad"):
        gather(folder)
    people = gather(folder, skip_bad=True)
    assert set(reasons(people)) == {"sub-0002", "sub-0005"}
    assert list(people.left_out["file"]) == ["sub-0002_T1w.nii.gz", "sub-0005_T1w.nii.gz"]
    assert len(people.volumes.images) == len(people.volumes.shapes) == len(people.volumes.digests) == 12
    np.testing.assert_allclose(people.volumes.brain_ml, people.cohort.volumes_ml.sum(1), rtol=1e-6)
    assert people.volumes.images.any(axis=(1, 2, 3)).all()  # no row of zeros


def test_bad_rows_of_the_table_are_listed_too(folder):
    def change(table):
        table.loc[1, "age"] = "430"
        table.loc[2, "csfv"] = "-3"

    people = gather(folder, change=change, skip_bad=True)
    assert set(reasons(people)) >= {"sub-0002", "sub-0003"}
    assert reasons(people)["sub-0002"].startswith("age: ")
    assert not {"sub-0002", "sub-0003"} & set(people.cohort.table["participant_id"])


def test_a_table_and_a_folder_without_common_participants_are_an_error(folder):
    def change(table):
        table["participant_id"] = [f"q{row}" for row in range(14)]

    with pytest.raises(AekitError, match=r"/t1: no file has the id .*'q0' .*'sub-0001_T1w\.nii\.gz'"):
        gather(folder, change=change)
    with pytest.raises(AekitError, match=r"people\.tsv: no participant has a scan, an age and volumes"):
        gather(
            folder,
            change=lambda table: table.update({"participant_id": [f"sub-{n:04}" for n in range(1, 15)], "age": "n/a"}),
        )


# --- a column whose values are held out in turn ---


def by_site(**options):
    return CohortConfig(cv="site", val=0, test=options.pop("test", 0), **options)


def test_each_site_is_held_out_once_by_name(cohort_of, table_of):
    sites = np.array(["b"] * 40 + ["a"] * 35 + ["c"] * 25, dtype=object)
    folds = build_folds(people_of(cohort_of(**table_of(site=sites))), by_site(), "absolute")
    assert [fold.name for fold in folds] == ["a", "b", "c"]
    for fold in folds:
        assert set(sites[fold.held_out["cv"]]) == {fold.name}
        assert fold.name not in set(sites[fold.train])
        assert len(fold.train) + len(fold.held_out["cv"]) == 100


def test_participants_without_a_site_are_in_every_train_and_that_is_said(cohort_of, table_of):
    sites = np.array(["b"] * 40 + ["a"] * 55 + [""] * 5, dtype=object)
    folds = build_folds(people_of(cohort_of(**table_of(site=sites))), by_site(), "absolute")
    assert all(set(range(95, 100)) <= set(fold.train) for fold in folds)
    assert describe_held_out(folds, 100) == "held out in turn: a 55, b 40; 5 without a value, in every train"


def test_who_was_scanned_at_two_sites_is_in_no_train_while_one_of_them_is_held_out(cohort_of, table_of):
    ids = [f"sub-{row // 2:02}_ses-{row % 2}" for row in range(100)]
    sites = np.array(["a"] * 51 + ["b"] * 49, dtype=object)  # rows 50 and 51 are the same person
    folds = build_folds(people_of(cohort_of(**{**table_of(), "participant_id": ids, "site": sites})), by_site(), None)
    assert 51 not in folds[0].train
    assert 50 not in folds[1].train
    assert [len(fold.train) for fold in folds] == [48, 50]
    assert describe_held_out(folds, 100).endswith("; 2 other rows of those held out, not in train either")


def test_a_test_split_is_set_aside_from_the_sites(cohort_of, table_of):
    sites = np.array(["a", "b"] * 50, dtype=object)
    folds = build_folds(people_of(cohort_of(**table_of(site=sites))), by_site(test=0.2), "absolute")
    test = set(folds[0].held_out["test"])
    assert len(test) == 20
    assert all(not test & {*fold.train, *fold.held_out["cv"]} for fold in folds)
    assert sum(len(fold.held_out["cv"]) for fold in folds) == 80


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("sites", r"--cv: people\.csv has no column sites .*did you mean 'site'\?"),
        ("age", r"--cv: column age of people\.csv has \d+ values; holding out each in turn needs 2 to 50"),
        ("one", r"--cv: column one of people\.csv has 1 value; "),
    ],
)
def test_a_column_that_cannot_be_held_out_is_an_error(cohort_of, table_of, column, message):
    cohort = cohort_of(**table_of(site=np.array(["a", "b"] * 50), one=np.array(["x"] * 100)))
    config = CohortConfig(cv=column, val=0, test=0)
    with pytest.raises(AekitError, match=message):
        build_folds(people_of(cohort), config, "absolute")
