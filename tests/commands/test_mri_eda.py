import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow  # each trains, draws or starts the program


@pytest.fixture
def table(tmp_path):
    """Return the path of a table of twelve participants."""
    age = np.linspace(20, 75, 12)
    rows = {"participant_id": [f"sub-{i:03d}" for i in range(12)], "age": age, "sex": ["F", "M"] * 6, "site": "A"}
    path = tmp_path / "t.tsv"
    pd.DataFrame({**rows, "gmv": 700 - age}).to_csv(path, sep="\t", index=False)
    return path


def test_the_path_of_the_report_is_the_only_output(aekit, table, tmp_path):
    result = aekit("mri-eda", table, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert result.paths == [tmp_path / "out" / "report.html"]
    assert "Cohort t.tsv" in result.stderr


def test_the_hypothesis_is_judged_if_it_is_asked_for(aekit, table, tmp_path):
    rows = pd.read_csv(table, sep="\t")
    rows.assign(wmv=500.0 + np.arange(12) % 5, csfv=200 + rows["age"]).to_csv(table, sep="\t", index=False)
    assert aekit("mri-eda", table, "-o", tmp_path / "out", "--hypotheses").exit_code == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Hypothesis H1: proportions of the three tissues" in page
    assert "H1, sexes: " in page
    assert "Do proportions differ by sex? " not in page


def test_json_has_the_numbers_and_quiet_says_nothing(aekit, table, tmp_path):
    result = aekit("mri-eda", table, "-o", tmp_path / "out", "--json", "--quiet")
    said = json.loads(result.stdout)
    assert said["path"] == str(tmp_path / "out" / "report.html")
    assert (said["n"], said["n_female"], said["n_male"]) == (12, 6, 6)
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--val", "0.6", "--test-split", "0.5"],
            "--val and --test-split: 0.6 and 0.5 leave no participants for train",
        ),
        (["--test-split", "1.5"], "--test-split: 1.5 is not a fraction"),
        (["--group", "sites"], "--group: t.tsv has no column sites (it has participant_id, age, sex, site, gmv"),
        (["--volumes", "nowhere"], "nowhere: "),
        (["--qc", "nowhere.tsv"], "nowhere.tsv: "),
    ],
)
def test_an_error_is_one_line(aekit, table, tmp_path, options, message):
    result = aekit("mri-eda", table, *options, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr
    assert result.stdout == ""


def test_columns_are_named_and_the_last_session_of_each_participant_is_described(aekit, tmp_path):
    rows = [f"P{person},P{person}_MR{visit},{visit},{'MF'[person % 2]},{50 + person + visit},-9999,{28 - visit}"
            for person in range(8) for visit in (1, 2)]  # fmt: skip
    path = tmp_path / "oasis.csv"
    path.write_text("\n".join(["Subject,MRI ID,Visit,M/F,AgeMRI,age,MMSE", *rows]) + "\n")
    refused = aekit("mri-eda", path, "-o", tmp_path / "out", "--age", "AgeMR")
    assert refused.exit_code == 1
    assert "--age: " in refused.stderr
    assert "did you mean 'AgeMRI'?" in refused.stderr
    options = ("--age", "AgeMRI", "--id", "MRI ID", "--session", "last")
    result = aekit("mri-eda", path, "-o", tmp_path / "out", *options)
    assert result.exit_code == 0, result.stderr
    assert "column 'AgeMRI' read as age, as --age says" in result.stderr
    assert "left-out: 8 sessions left out, see left-out.csv: P0_MR1, P1_MR1, " in result.stderr
    table = pd.read_csv(tmp_path / "out" / "participants.tsv", sep="\t")
    assert list(table["participant_id"]) == [f"P{person}_MR2" for person in range(8)]
    assert list(table["age"]) == [52 + person for person in range(8)]
    assert list(table["sex"]) == ["M", "F"] * 4
    left = pd.read_csv(tmp_path / "out" / "left-out.csv")
    assert list(left["participant_id"]) == [f"P{person}_MR1" for person in range(8)]


@pytest.mark.parametrize("quiet", [True, False])
def test_sites_in_any_script_make_no_warnings_of_python(aekit, table, tmp_path, quiet):
    sites = ["北京", "القاهرة", "\U0010fff0"] * 4  # the last for private use, so that no font has it
    pd.read_csv(table, sep="\t").assign(site=sites).to_csv(table, sep="\t", index=False)
    result = aekit("mri-eda", table, "-o", tmp_path / "out", *(["--quiet"] if quiet else []))
    assert result.exit_code == 0
    about_fonts = [line for line in result.stderr.splitlines() if "font" in line or "Glyph" in line]
    assert len(about_fonts) == (not quiet)
    assert all(line.startswith("no installed font has the letters ") for line in about_fonts)
    assert "UserWarning" not in result.stderr
    assert not (quiet and result.stderr)


def test_the_table_is_never_replaced(aekit, table):
    own = table.rename(table.with_name("participants.tsv"))
    before = own.read_bytes()
    result = aekit("mri-eda", own, "-o", own.parent)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "its participants.tsv is the input, and would be replaced" in result.stderr
    assert own.read_bytes() == before


def test_a_table_without_ages_names_its_columns(aekit, table, tmp_path):
    pd.read_csv(table, sep="\t").drop(columns="age").to_csv(table, sep="\t", index=False)
    result = aekit("mri-eda", table, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "has no column age (it has participant_id, sex, site" in result.stderr


def test_torch_is_not_loaded(table, tmp_path):
    script = (
        "import sys; from aekit.commands.mri_eda import mri_eda; from pathlib import Path\n"
        f"mri_eda(Path({str(table)!r}), output=Path({str(tmp_path / 'out')!r}), quiet=True)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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
