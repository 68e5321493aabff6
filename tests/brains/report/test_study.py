import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from aekit.brains.cohort.splits import SplitPlan
from aekit.brains.report.study import run_eda
from aekit.errors import AekitError

pytestmark = pytest.mark.slow  # each trains, draws or starts the program

N = 44


@pytest.fixture(scope="module")
def report(participants, write_table, write_scan, recorder, tmp_path_factory):
    """Return the result of a report with everything in it, what progress was shown, and the table."""
    folder = tmp_path_factory.mktemp("cohort")
    table = participants(N)
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
    progress = recorder()
    result = run_eda(path, folder / "out", volumes=scans, qc=write_table(qc, folder / "qc.tsv"), progress=progress)
    return result, progress, table


def read(folder, name):
    return pd.read_csv(folder / name, sep="\t" if name.endswith(".tsv") else ",", keep_default_na=True)


def test_the_result_is_the_page_with_its_numbers(report):
    result, _, _ = report
    said = result.values
    assert result.path.name == "report.html"
    assert (said["n"], said["n_left_out"], said["n_missing_age"]) == (N - 1, 1, 1)
    assert said["space"] == "native"
    assert said["failed"] == [
        "unusable-files",
        "same-scan",
        "space-of-scans",  # one of the two with the same scan
        "rows-without-file",
        "files-without-row",
        "file-warnings",
        "left-out",
        "missing-age",
    ]


def test_the_floor_is_the_error_of_the_constant(report):
    result, _, table = report
    folder = result.path.parent
    age = table.drop(index=10)["age"].dropna()
    said = result.values
    assert said["mae_mean_years"] == pytest.approx((age - age.mean()).abs().mean())
    assert said["mae_median_years"] == pytest.approx((age - age.median()).abs().mean())
    floor = read(folder, "floor.csv").set_index(["predictor", "evaluated_on"])["mae_years"]
    assert floor["mean", "all"] == pytest.approx(said["mae_mean_years"])
    split = read(folder, "participants.tsv")
    train, test = (split[split["split"] == name]["age"].dropna() for name in ("train", "test"))
    assert floor["median", "test"] == pytest.approx((test - train.median()).abs().mean())


def test_the_table_is_written_with_outliers_a_split_and_files(report):
    result, _, table = report
    folder = result.path.parent
    written = read(folder, "participants.tsv")
    assert list(written["participant_id"]) == list(table["participant_id"].drop(index=10))
    np.testing.assert_allclose(written["gmv"], table["gmv"].drop(index=10), rtol=1e-8)
    assert written.set_index("participant_id")["outlier"]["sub-005"] == 1
    assert written["outlier"].sum() == result.values["n_outliers"] == len(read(folder, "outliers.csv"))
    assert written["split"].value_counts().to_dict() == result.values["split"]
    assert written["file"][0] == "sub-000_T1w.nii.gz"
    assert np.isnan(written["age"][6])


def test_the_most_extreme_outlier_comes_first_with_its_reason(report):
    first = read(report[0].path.parent, "outliers.csv").iloc[0]
    assert first["participant_id"] == "sub-005"
    assert "less grey matter" in first["reason"]
    assert "more CSF" in first["reason"]


def test_every_file_is_checked(report):
    files = read(report[0].path.parent, "files.csv").set_index("participant_id")
    assert len(files) == N - 1
    assert files.loc["sub-004", "problem"]
    assert files.loc[f"sub-{N - 1:03d}", "problem"] == "no file"
    assert (files.loc["sub-002", "same_scan_as"], files.loc["sub-003", "same_scan_as"]) == ("sub-003", "sub-002")
    good = files.drop(index=["sub-003", "sub-004", f"sub-{N - 1:03d}"])
    assert good["problem"].isna().all()
    assert (good["spacing_x_mm"] == 8).all()
    np.testing.assert_allclose(good["brain_to_table"], 1, atol=0.03)
    unmatched = read(report[0].path.parent, "unmatched.csv")
    assert set(unmatched.itertuples(index=False, name=None)) == {
        ("row without file", f"sub-{N - 1:03d}"),
        ("file without row", "sub-999_T1w.nii.gz"),
    }


def test_participants_who_failed_the_quality_check_are_listed_and_left_out(report):
    left_out = read(report[0].path.parent, "left-out.csv")
    assert left_out["participant_id"].tolist() == ["sub-010"]
    counts = read(report[0].path.parent, "counts.csv")
    assert counts["n"][0] == N - 1
    page = (report[0].path.parent / "report.html").read_text()
    assert "qc.tsv: 1 of 44 participants failed the quality check, left out." in page
    assert "1 participant without a verdict in qc.tsv kept." in page
    assert "1 participant without a verdict in qc.tsv kept." in report[1].notices


def test_sex_differences_are_those_of_the_table(report):
    result, _, table = report
    folder = result.path.parent
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
    result, _, table = report
    folder = result.path.parent
    rows = read(folder, "correlations.csv").set_index(["kind", "first", "second"])
    kept = table.drop(index=10)
    share = kept["csfv"] / kept[["gmv", "wmv", "csfv"]].sum(axis=1)
    assert rows.loc[("proportions", "age", "csfv"), "pearson"] == pytest.approx(kept["age"].corr(share))
    assert rows.loc[("volumes", "gmv", "wmv"), "pearson"] == pytest.approx(kept["gmv"].corr(kept["wmv"]))


def test_the_page_holds_every_figure_and_escapes_the_table(report):
    folder = report[0].path.parent
    page = (folder / "report.html").read_text()
    pictures = sorted(folder.glob("*.png"))
    assert len(pictures) == 12
    assert page.count("data:image/png;base64") == len(pictures)
    assert "<b>A" not in page
    assert "&lt;b&gt;A" in page
    assert "Do proportions differ by sex?" in page
    assert "Do proportions say more about age than volumes?" in page
    assert "H1," not in page
    assert "hypothesis H1" not in page
    for picture in pictures:
        assert json.loads(Image.open(picture).text["aekit"])["command"] == "mri-eda"


def test_progress_shows_the_main_numbers_and_every_failed_check(report):
    _, progress, _ = report
    [(title, columns, [row])] = progress.tables
    assert title == "Cohort participants.tsv"
    shown = dict(zip(columns, row, strict=True))
    assert (shown["participants"], shown["female"], shown["male"]) == ("43", 21, 22)
    done = {what.rpartition(": ")[2]: counts for what, *counts in progress.updates}
    assert done["checking volumes"] == [N - 2, N - 2]
    assert "missing-age: 1 participant without an age, excluded wherever age is needed: sub-006." in progress.notices


def test_a_table_of_ages_alone_has_a_report_of_them(participants, write_table, tmp_path):
    table = participants(20)[["participant_id", "age"]]
    result = run_eda(write_table(table, tmp_path / "ages.tsv"), tmp_path / "out")
    assert result.path == tmp_path / "out" / "report.html"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"age.png", "split.png", "participants.tsv", "counts.csv"} < names
    assert not names & {"volumes.csv", "sites.csv", "outliers.csv", "files.csv"}
    run_eda(tmp_path / "out" / "participants.tsv", tmp_path / "again")
    assert (tmp_path / "again" / "participants.tsv").read_text() == (tmp_path / "out" / "participants.tsv").read_text()


@pytest.mark.parametrize("name", ["participants.tsv", "floor.csv"])
@pytest.mark.parametrize("how", ["the folder itself", "a link to the folder", "a link to the table"])
def test_the_input_is_never_replaced(participants, write_table, tmp_path, name, how):
    (tmp_path / "bids").mkdir()
    path = write_table(participants(12)[["participant_id", "age"]], tmp_path / "bids" / name)
    output = {"the folder itself": path.parent}.get(how, tmp_path / "out")
    if how == "a link to the folder":
        output.symlink_to(path.parent)
    elif how == "a link to the table":
        output.mkdir()
        (output / name).symlink_to(path)
    before = path.read_bytes()
    with pytest.raises(AekitError, match=rf"^--output .*: its {name} is the input, and would be replaced; give"):
        run_eda(path, output)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [name]


def test_a_folder_whose_data_dictionary_would_describe_the_result_is_refused(participants, write_table, tmp_path):
    (tmp_path / "participants.json").write_text('{"age": {"Units": "months"}}')
    path = write_table(participants(12)[["participant_id", "age"]], tmp_path / "cohort.tsv")
    with pytest.raises(AekitError, match=r"has a participants\.json, which would describe the corrected"):
        run_eda(path, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_ages_in_months_are_in_years_in_the_corrected_table_whoever_says_so(participants, write_table, tmp_path):
    table = participants(30)[["participant_id", "age", "sex"]]
    months = table.assign(age=(12 * table["age"]).round())
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "participants.json").write_text('{"age": {"Units": "months"}}')
    write_table(months, tmp_path / "a" / "participants.tsv")
    write_table(months.rename(columns={"age": "Age [months]"}), tmp_path / "header.tsv")
    for number, path in enumerate([tmp_path / "a" / "participants.tsv", tmp_path / "header.tsv"]):
        run_eda(path, tmp_path / str(number))
        written = read(tmp_path / str(number), "participants.tsv")
        np.testing.assert_allclose(written["age"], months["age"] / 12, rtol=1e-8)


def test_a_quality_table_is_never_replaced(participants, write_table, tmp_path):
    table = participants(12)[["participant_id", "age"]]
    path, qc = write_table(table, tmp_path / "t.tsv"), write_table(table.assign(qc=1), tmp_path / "counts.csv")
    before = qc.read_bytes()
    with pytest.raises(AekitError, match=r"its counts\.csv is the input"):
        run_eda(path, tmp_path, qc=qc)
    assert qc.read_bytes() == before


def test_sites_are_kept_together_on_request_and_an_older_split_is_kept(participants, write_table, tmp_path):
    table = participants(30)[["participant_id", "age", "sex"]]
    table["site"] = [f"site {row % 6}" for row in range(30)]
    table["split"] = "official"
    path = write_table(table, tmp_path / "t.tsv")
    run_eda(path, tmp_path / "out", split=SplitPlan(group="site"))
    written = read(tmp_path / "out", "participants.tsv")
    assert (written.groupby("site")["split"].nunique() == 1).all()
    assert set(written["split"]) == {"train", "val", "test"}
    assert set(written["split_before"]) == {"official"}
