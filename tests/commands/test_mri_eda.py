import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from aekit.brains.report.sexes import h1_sentences
from aekit.brains.report.study import Comparison
from aekit.core.intervals import Interval

N = 44


def people(n=N, *, seed=0):
    """Return a table whose volumes go with age and sex as brains do, of two sites."""
    generator = np.random.default_rng(seed)
    age, female = generator.uniform(10, 80, n), np.arange(n) % 2 == 0
    size = np.where(female, 1350, 1530) * np.exp(generator.normal(0, 0.05, n))
    csf = 0.10 + 0.002 * age + generator.normal(0, 0.01, n)
    grey = (1 - csf) * (0.60 - 0.0012 * age + generator.normal(0, 0.01, n))
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{number:03d}" for number in range(n)],
            "age": age.round(2),
            "sex": np.where(female, "F", "M"),
            "site": np.where(np.arange(n) < n // 2, "<b>A", "B"),
            "gmv": size * grey,
            "wmv": size * (1 - csf - grey),
            "csfv": size * csf,
        }
    )


def write_table(table, path):
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    return path


def write_scan(path, volume_ml, *, seed):
    """Write a ball of this volume in voxels of 8 mm, noisy, so that no two are the same."""
    generator = np.random.default_rng(seed)
    grid = np.linalg.norm(np.indices((24, 24, 24)) - 11.5, axis=0) + generator.normal(0, 0.01, (24, 24, 24))
    inside = grid <= np.sort(grid, axis=None)[round(volume_ml / 0.512)]
    data = np.where(inside, generator.normal(100, 10, grid.shape), 0).astype(np.float32)
    nibabel.Nifti1Image(data, np.diag([8.0, 8, 8, 1])).to_filename(path)


@pytest.fixture(scope="module")
def report(aekit, tmp_path_factory):
    """Return the folder of a report with everything in it, what was said, and the table it is of."""
    folder = tmp_path_factory.mktemp("cohort")
    table = people()
    table.loc[5, ["gmv", "csfv"]] = [250.0, 700.0]  # an outlier
    table.loc[6, "age"] = np.nan
    scans = folder / "scans"
    scans.mkdir()
    totals = table[["gmv", "wmv", "csfv"]].sum(axis=1)
    for row, one in enumerate(table["participant_id"][:-1]):
        write_scan(scans / f"{one}_T1w.nii.gz", totals[row], seed=row)
    (scans / "sub-003_T1w.nii.gz").write_bytes((scans / "sub-002_T1w.nii.gz").read_bytes())
    damaged = bytearray((scans / "sub-004_T1w.nii.gz").read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    (scans / "sub-004_T1w.nii.gz").write_bytes(bytes(damaged))
    write_scan(scans / "sub-999_T1w.nii.gz", 1400, seed=99)
    qc = pd.DataFrame({"participant_id": table["participant_id"][1:], "qc": 1, "snr": 10.0})
    qc.loc[10, "qc"] = 0
    path = write_table(table, folder / "participants.tsv")
    result = aekit(
        "mri-eda", path, "--volumes", scans, "--qc", write_table(qc, folder / "qc.tsv"), "-o", folder / "out", "--json"
    )
    assert result.exit_code == 0, result.stderr
    return folder / "out", result, table


def read(folder, name):
    return pd.read_csv(folder / name, sep="\t" if name.endswith(".tsv") else ",", keep_default_na=True)


def test_the_path_of_the_report_and_its_numbers_are_the_only_output(report):
    folder, result, _ = report
    said = json.loads(result.stdout)
    assert said["path"] == str(folder / "report.html")
    assert (said["n"], said["n_left_out"], said["n_missing_age"]) == (N - 1, 1, 1)
    assert said["space"] == "native"
    assert set(said["failed"]) == {
        "unusable-files",
        "same-scan",
        "rows-without-file",
        "files-without-row",
        "left-out",
        "missing-age",
    }


def test_the_floor_is_the_error_of_the_constant(report):
    folder, result, table = report
    age = table.drop(index=10)["age"].dropna()
    said = json.loads(result.stdout)
    assert said["mae_mean_years"] == pytest.approx((age - age.mean()).abs().mean())
    assert said["mae_median_years"] == pytest.approx((age - age.median()).abs().mean())
    floor = read(folder, "floor.csv").set_index(["predictor", "evaluated_on"])["mae_years"]
    assert floor["mean", "all"] == pytest.approx(said["mae_mean_years"])
    split = read(folder, "participants.tsv")
    train, test = (split[split["split"] == name]["age"].dropna() for name in ("train", "test"))
    assert floor["median", "test"] == pytest.approx((test - train.median()).abs().mean())


def test_the_table_is_written_with_outliers_a_split_and_files(report):
    folder, result, table = report
    written = read(folder, "participants.tsv")
    assert list(written["participant_id"]) == list(table["participant_id"].drop(index=10))
    np.testing.assert_allclose(written["gmv"], table["gmv"].drop(index=10), rtol=1e-8)
    assert written.set_index("participant_id")["outlier"]["sub-005"] == 1
    assert written["outlier"].sum() == json.loads(result.stdout)["n_outliers"] == len(read(folder, "outliers.csv"))
    assert written["split"].value_counts().to_dict() == json.loads(result.stdout)["split"]
    assert written["file"][0] == "sub-000_T1w.nii.gz"
    assert np.isnan(written["age"][6])


def test_the_most_extreme_outlier_comes_first_with_its_reason(report):
    first = read(report[0], "outliers.csv").iloc[0]
    assert first["participant_id"] == "sub-005"
    assert "less grey matter" in first["reason"]
    assert "more CSF" in first["reason"]


def test_every_file_is_judged(report):
    files = read(report[0], "files.csv").set_index("participant_id")
    assert len(files) == N - 1
    assert files.loc["sub-004", "problem"]
    assert files.loc[f"sub-{N - 1:03d}", "problem"] == "no file"
    assert (files.loc["sub-002", "same_scan_as"], files.loc["sub-003", "same_scan_as"]) == ("sub-003", "sub-002")
    good = files.drop(index=["sub-003", "sub-004", f"sub-{N - 1:03d}"])
    assert good["problem"].isna().all()
    assert (good["spacing_x_mm"] == 8).all()
    np.testing.assert_allclose(good["brain_to_table"], 1, atol=0.03)
    unmatched = read(report[0], "unmatched.csv")
    assert set(unmatched.itertuples(index=False, name=None)) == {
        ("row without file", f"sub-{N - 1:03d}"),
        ("file without row", "sub-999_T1w.nii.gz"),
    }


def test_who_failed_the_quality_check_is_listed_and_does_not_count(report):
    left_out = read(report[0], "left-out.csv")
    assert left_out["participant_id"].tolist() == ["sub-010"]
    counts = read(report[0], "counts.csv")
    assert counts["n"][0] == N - 1
    page = (report[0] / "report.html").read_text()
    assert "qc.tsv: of 44 people 1 failed the quality check and are left out." in page
    assert "1 person without a verdict in qc.tsv kept." in page
    assert "1 person without a verdict in qc.tsv kept." in report[1].stderr


def test_sex_differences_are_those_of_the_table(report):
    folder, _, table = report
    rows = read(folder, "sex-differences.csv").set_index(["kind", "measure"])
    kept = table.drop(index=10)
    women, men = (kept[kept["sex"] == sex]["wmv"] for sex in ("F", "M"))
    found = rows.loc[("volumes", "wmv")]
    assert (found["mean_female"], found["mean_male"]) == pytest.approx((women.mean(), men.mean()))
    pooled = np.sqrt(((len(women) - 1) * women.var() + (len(men) - 1) * men.var()) / (len(women) + len(men) - 2))
    assert found["cohens_d"] == pytest.approx((men.mean() - women.mean()) / pooled)
    assert list(rows.index) == [("volumes", key) for key in ("gmv", "wmv", "csfv", "total")] + [
        ("proportions", key) for key in ("gmv", "wmv", "csfv")
    ]


def test_correlations_are_those_of_the_table(report):
    folder, _, table = report
    rows = read(folder, "correlations.csv").set_index(["kind", "first", "second"])
    kept = table.drop(index=10)
    share = kept["csfv"] / kept[["gmv", "wmv", "csfv"]].sum(axis=1)
    assert rows.loc[("proportions", "age", "csfv"), "pearson"] == pytest.approx(kept["age"].corr(share))
    assert rows.loc[("volumes", "gmv", "wmv"), "pearson"] == pytest.approx(kept["gmv"].corr(kept["wmv"]))


def test_the_page_holds_every_figure_and_escapes_the_table(report):
    folder, _, _ = report
    page = (folder / "report.html").read_text()
    pictures = sorted(folder.glob("*.png"))
    assert len(pictures) == 11
    assert page.count("data:image/png;base64") == len(pictures)
    assert "<b>A" not in page
    assert "&lt;b&gt;A" in page
    assert "H1, sexes:" in page
    assert "H1, age:" in page
    for picture in pictures:
        assert json.loads(Image.open(picture).text["aekit"])["command"] == "mri-eda"


def test_a_table_of_ages_alone_has_a_report_of_them(aekit, tmp_path):
    table = people(20)[["participant_id", "age"]]
    result = aekit("mri-eda", write_table(table, tmp_path / "ages.tsv"), "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert result.paths == [tmp_path / "out" / "report.html"]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"age.png", "split.png", "participants.tsv", "counts.csv"} < names
    assert not names & {"volumes.csv", "sites.csv", "outliers.csv", "files.csv"}
    again = aekit("mri-eda", tmp_path / "out" / "participants.tsv", "-o", tmp_path / "again", "-q")
    assert again.exit_code == 0, again.stderr
    assert (tmp_path / "again" / "participants.tsv").read_text() == (tmp_path / "out" / "participants.tsv").read_text()


def test_sites_are_kept_together_on_request_and_an_older_split_is_kept(aekit, tmp_path):
    table = people(30)[["participant_id", "age", "sex"]]
    table["site"] = [f"site {row % 6}" for row in range(30)]
    table["split"] = "official"
    path = write_table(table, tmp_path / "t.tsv")
    assert aekit("mri-eda", path, "--group", "site", "-o", tmp_path / "out", "-q").exit_code == 0
    written = read(tmp_path / "out", "participants.tsv")
    assert (written.groupby("site")["split"].nunique() == 1).all()
    assert set(written["split"]) == {"train", "val", "test"}
    assert set(written["split_before"]) == {"official"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--val", "0.6", "--test-split", "0.5"], "--val and --test-split: 0.6 and 0.5 leave nobody for train"),
        (["--test-split", "1.5"], "--test-split: 1.5 is no share"),
        (["--group", "sites"], "--group: t.tsv has no column sites (it has participant_id, age, sex, site, gmv"),
        (["--volumes", "nowhere"], "nowhere: "),
        (["--qc", "nowhere.tsv"], "nowhere.tsv: "),
    ],
)
def test_what_cannot_be_is_said_in_one_line(aekit, tmp_path, options, message):
    path = write_table(people(12), tmp_path / "t.tsv")
    result = aekit("mri-eda", path, *options, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr
    assert result.stdout == ""


def test_a_quality_table_without_sense_names_everyone(aekit, tmp_path):
    path = write_table(people(12), tmp_path / "t.tsv")
    strange = pd.DataFrame({"participant_id": ["sub-001", "sub-002"], "qc": ["maybe", "1"]})
    result = aekit("mri-eda", path, "--qc", write_table(strange, tmp_path / "qc.tsv"), "-o", tmp_path / "out")
    assert "column qc is neither 1 nor 0 for sub-001 (maybe)" in result.stderr
    others = pd.DataFrame({"participant_id": ["x1"], "qc": [1]})
    result = aekit("mri-eda", path, "--qc", write_table(others, tmp_path / "qc.tsv"), "-o", tmp_path / "out")
    assert "none of its ids (as x1) is in t.tsv (as sub-000)" in result.stderr


def test_one_participant_left_is_no_cohort(aekit, tmp_path):
    table = people(3)
    qc = pd.DataFrame({"participant_id": table["participant_id"], "qc": [0, 0, 1]})
    path, checks = write_table(table, tmp_path / "t.tsv"), write_table(qc, tmp_path / "qc.tsv")
    result = aekit("mri-eda", path, "--qc", checks, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "1 participant is left of 3 read" in result.stderr


def test_a_table_without_ages_names_its_columns(aekit, tmp_path):
    table = people(12).drop(columns="age")
    result = aekit("mri-eda", write_table(table, tmp_path / "t.tsv"), "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "has no column age (it has participant_id, sex, site" in result.stderr
    table["age"] = np.nan
    result = aekit("mri-eda", write_table(table, tmp_path / "t.tsv"), "-o", tmp_path / "out")
    assert "t.tsv: nobody has an age" in result.stderr


@pytest.mark.slow
def test_torch_is_not_loaded(tmp_path):
    path = write_table(people(12)[["participant_id", "age"]], tmp_path / "t.tsv")
    script = (
        "import sys; from aekit.commands.mri_eda import mri_eda; from pathlib import Path\n"
        f"mri_eda(Path({str(path)!r}), output=Path({str(tmp_path / 'out')!r}), quiet=True)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def interval(value, half):
    return Interval(value, value - half, value + half)


@pytest.mark.parametrize(
    ("d_proportion", "given_age", "gained", "sexes", "ages"),
    [
        (interval(0.05, 0.1), interval(0.1, 0.05), interval(0.2, 0.1), "as H1 says", "This is what H1 says"),
        (interval(0.5, 0.1), interval(0.6, 0.1), interval(-0.2, 0.1), "speaks against", "This speaks against H1"),
        (interval(0.0, 0.3), interval(0.6, 0.1), interval(0.02, 0.01), "only because", "neither shown nor refuted"),
        (interval(0.5, 0.1), interval(0.0, 0.3), interval(0.1, 0.3), "explained by age", "neither shown nor refuted"),
        (interval(0.0, 0.3), interval(0.1, 0.3), interval(0.2, 0.1), "up to |d| = 0.40", "This is what H1 says"),
        (interval(np.nan, 1), interval(0.1, 0.3), interval(np.nan, 1), "cannot be judged", "cannot be judged"),
    ],
)
def test_what_is_said_of_h1_follows_from_the_intervals(d_proportion, given_age, gained, sexes, ages):
    found = [Comparison(key, interval(1.2, 0.2), d_proportion, given_age, 0.5, 0.7, gained) for key in ("gmv", "csfv")]
    about_sexes, about_age = h1_sentences(found)
    assert sexes in about_sexes
    assert ages in about_age


@pytest.mark.real_data
def test_the_real_cohort_is_native_and_its_floor_is_known(aekit, tmp_path):
    brain = Path(os.environ["AEKIT_DATA"]) / "brain"
    result = aekit(
        "mri-eda",
        brain / "tables" / "ixi_hh_participants.tsv",
        "--volumes",
        brain / "volumes" / "ixi_hh_2mm",
        "-o",
        tmp_path / "out",
        "--json",
    )
    said = json.loads(result.stdout)
    assert (said["n"], said["n_files"], said["n_unusable_files"], said["space"]) == (181, 181, 0, "native")
    assert said["mae_median_years"] == pytest.approx(14.83, abs=0.01)
    assert said["failed"] == []
