"""What a page of results shows of runs and files, before it is HTML."""

from __future__ import annotations

from dataclasses import replace

import pytest
from html_page import Page

from aekit.core.checkpoint import Header
from aekit.core.settings import to_dict
from aekit.core.weights import write_checkpoint
from aekit.images.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from aekit.plotting.html import Bullets, Code, Details, Paragraph, Row, Subsection, Table
from aekit.results.files import PngFile, Results, TableFile
from aekit.results.page import MAX_JSON_CHARACTERS, N_NAMED, build_sections
from aekit.results.report import run_report


def _header(*, beta=1.0, objective="elbo", loss="bernoulli", images="a" * 64, state=None):
    train = TrainConfig(beta=beta, epochs=9)
    parts = to_dict(RunConfig(ModelConfig(latent=2, loss=loss), DataConfig(name="digits"), train))
    parts["train"]["objective"] = objective
    parts["data"]["splits"] = {"test": {"n": 5, "fingerprint": images}}
    test = {"split": "test", "total": 9.0, "reconstruction": 8.0, "kl": 1.0, "mse": 0.5}
    return Header(**parts, result={"epoch": 1, "parameters": 7, "test": test, "history": []}, state=state)


def _sections(results, *, max_rows=50):
    built = build_sections(results, title="grid", max_rows=max_rows, max_mb=5)
    return {section.heading: section.blocks for section in built}


def _warnings(results):
    return [
        text
        for block in _sections(results)["Summary"]
        if isinstance(block, Bullets) and block.are_warnings
        for text in block.items
    ]


def _blocks_of(name, value, **options):
    """Return what is shown of a .json file."""
    ((part,),) = [_sections(Results(values={name: value}), **options)["grid"]]
    (row,) = part.blocks
    return [block for column in row.columns for block in column]


# --- runs ---


@pytest.mark.parametrize(
    ("other", "warning"),
    [
        ({}, None),
        ({"beta": 0.5}, "Totals with different beta are not comparable."),
        ({"objective": "dip-i"}, "Totals with different objective are not comparable."),
        ({"objective": "mmd", "beta": 0.5}, "Totals with different beta or objective are not comparable."),
        ({"loss": "gaussian", "beta": 0.5}, "Likelihoods under different losses are not comparable."),
        ({"images": "b" * 64}, "Results on different test images are not comparable."),
    ],
)
def test_runs_that_cannot_be_compared_are_said_to_be_so(other, warning):
    runs = {"a.safetensors": _header(), "b.safetensors": _header(**other)}
    text = _sections(Results(runs=runs))["Runs"][0].text
    assert text.count("comparable") == (warning is not None)
    assert warning is None or text.endswith(warning)


def test_a_link_of_a_run_leads_to_its_own_files():
    runs = {"x/b.safetensors": _header(), "x/a.safetensors": _header(beta=2.0)}
    found = _sections(Results(runs=runs, values={"x/c.json": {"mse": 1.0}}))
    table = next(block for block in found["Runs"] if isinstance(block, Table))
    parts = {part.anchor: part for part in found["x"] if isinstance(part, Subsection)}
    assert len(parts) == len(found["x"]) == 3
    for link in (row[0] for row in table.rows):
        part = parts[link.anchor]
        assert link.text == f"x/{part.heading}"
        assert part.blocks[0] == Paragraph(f"vae conv, latent 2, beta {'1' if part.heading == 'b' else '2'}: digits")


def test_what_a_run_reached_comes_before_its_other_files_and_its_history_last():
    table = TableFile(["a"], [[1.0]], 1, 1)
    names = ["m.csv", "m.differences.csv", "m.metrics.csv", "m.predictions.csv"]
    figures = {name: PngFile(b"png", {}) for name in ("m.png", "m.decades.png", "m.predictions.png")}
    results = Results(runs={"m.safetensors": _header()}, figures=figures, tables=dict.fromkeys(names, table))
    (part,) = _sections(results)["grid"]
    rows = [block for block in part.blocks if isinstance(block, Row)]
    shown = [[block.caption for column in row.columns for block in column] for row in rows]
    assert [captions[0].partition(":")[0] for captions in shown] == [
        "m.metrics.csv", "m.differences.csv", "m.decades.png", "m.predictions.png", "m.png",
    ]  # fmt: skip
    assert shown[-1][1].startswith("m.csv: ")


def test_an_unfinished_run_says_how_far_it_came():
    brain = Header({"kind": "brain", "arch": "base"}, {"name": "x.tsv"}, {}, state={"epoch": 3})
    found = _warnings(Results(unfinished={"a.resume.safetensors": _header(state={"epoch": 4}), "b": brain}))
    assert "4 of 9 epochs done" in found[0]
    assert "3 stages done" in found[1]


def test_brain_age_models_are_compared_by_their_errors_on_held_out_participants(tmp_path):
    rows = [
        {"model": model, "target": target, "split": split, "n": 9, "mae": mae, "r2": None}
        for model, target, split, mae in [
            ("chain", "age_years", "test", 5.25),
            ("chain", "age_years", "train", 1.0),
            ("mean", "age_years", "test", 9.5),
            ("volumes", "gmv_ml", "test", 7.125),
        ]
    ]
    for arch in ("base", "deep"):
        header = Header(model={"kind": "brain", "arch": arch}, data={"name": "people.tsv", "people": 44}, train={})
        write_checkpoint(
            tmp_path / f"{arch}.safetensors", {}, replace(header, result={"judged": "test", "metrics": rows})
        )
    page = Page(run_report([tmp_path]).path.read_text())
    columns, first, second = page.table("Brain age models")["rows"]
    run = dict(zip(columns, first, strict=True))
    assert (run["age MAE: via predicted volumes"], run["age MAE: mean age"], run["gmv MAE, mL"]) == (
        "5.25",
        "9.5",
        "7.125",
    )
    assert [row[columns.index("arch")] for row in (first, second)] == ["base", "deep"]
    assert "brain base: people.tsv, 44 participants" in page.text


# --- files ---


def test_of_many_damaged_files_some_are_named_and_the_others_counted():
    names = [f"{number}.csv" for number in range(N_NAMED + 1500)]
    found = _warnings(Results(unreadable=dict.fromkeys(names, "is empty")))
    assert found[0] == "0.csv: is empty"
    assert found[N_NAMED:] == ["1,500 more files cannot be read"]


def test_figures_that_are_left_out_are_counted_against_all():
    figures = {"a.png": PngFile(b"x", {}), "b.png": PngFile(None, {}), "c.png": PngFile(None, {})}
    (warning,) = _warnings(Results(figures=figures))
    assert warning == "2 of 3 figures are left out, as all together take more than 5 MB (--max-mb): b.png, c.png"


def test_a_table_stands_next_to_the_figure_of_its_name_and_is_counted_as_a_whole():
    tables = {
        "x.csv": TableFile(["a"], [[1.0], [2.0]], n_rows=1234, n_columns=1),
        "y.csv": TableFile(["a"], [[1.0]], n_rows=1, n_columns=1),
        "z.csv": TableFile(["a"], [], n_rows=0, n_columns=1),
    }
    parts = _sections(Results(figures={"x.png": PngFile(None, {})}, tables=tables))["grid"]
    assert [part.heading for part in parts] == ["x", "y", "z"]
    x, y, z = (part.blocks[0] for part in parts)
    assert isinstance(x, Row)
    (left,), (right,) = x.columns
    assert left == Paragraph("x.png is left out because of its size.")
    assert right.caption == "x.csv: the first 2 of 1,234 rows"
    assert y.columns[0][0].caption == "y.csv: 1 row"
    assert z.columns[0][0] == Paragraph("z.csv: no rows.")


def test_numbers_with_a_standard_error_are_rows_with_both():
    blocks = _blocks_of("x.json", {"mse": 0.5, "mse_error": 0.1, "kl": 2.0, "my_error": 3, "parameters": {"n": 5}})
    table, made_by = blocks
    assert list(table.columns) == ["measure", "value", "standard error"]
    assert table.rows == [["mse", 0.5, 0.1], ["kl", 2.0, None], ["my_error", 3, None]]
    assert made_by.summary == "Parameters"
    assert made_by.blocks[0].rows == [("n", 5)]
    (plain,) = _blocks_of("x.json", {"kl": 2.0})
    assert (list(plain.columns), plain.rows) == (["measure", "value"], [["kl", 2.0]])


def test_lists_of_objects_are_tables_with_every_key_and_are_cut():
    rows = [{"a": 1}, {"a": 2, "b": 3}, {"a": 4}]
    (table,) = _blocks_of("x.json", rows, max_rows=2)
    assert (list(table.columns), table.rows) == (["a", "b"], [[1, None], [2, 3]])
    assert table.caption == "x.json: the first 2 of 3 rows"


@pytest.mark.parametrize("value", [[], {}, [1, 2], [{"a": [1]}], {"deep": {"a": 1}}])
def test_what_is_no_table_is_shown_as_text(value):
    (details,) = _blocks_of("x.json", value)
    assert isinstance(details, Details)
    assert details.summary == "x.json: its text"
    assert isinstance(details.blocks[0], Code)


def test_a_long_text_is_cut():
    *_, details = _blocks_of("x.json", {"n": 1, "codes": list(range(MAX_JSON_CHARACTERS))})
    assert details.summary == "x.json: the rest"
    text = details.blocks[0].text
    assert text.endswith("\n...")
    assert len(text) == MAX_JSON_CHARACTERS + 4
