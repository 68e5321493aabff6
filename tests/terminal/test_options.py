"""Options that mean the same in every command: their choices, and where data are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from aekit.terminal.options import resolve_data_root, with_choices


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Which one.", "Which one. One of auto, fp32."),
        ("auto takes what is there.", "auto takes what is there. One of auto, fp32."),
        ("auto: bf16, otherwise fp32.", "auto: bf16, otherwise fp32."),
        ("automatic or fp32.", "automatic or fp32. One of auto, fp32."),  # auto alone is not a word of it
    ],
)
def test_choices_are_listed_unless_the_help_names_them_all(text, shown):
    assert with_choices(text, ["auto", "fp32"]) == shown


def test_a_choice_with_a_hyphen_is_one_word():
    assert with_choices("resize-conv or conv.", ["conv", "resize-conv"]) == "resize-conv or conv."
    assert with_choices("resize-conv.", ["conv", "resize-conv"]).endswith("One of conv, resize-conv.")


def test_data_are_looked_for_where_the_option_says_then_the_environment_then_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("AEKIT_DATA", "/environment")
    assert resolve_data_root(Path("given")) == Path("given")
    assert resolve_data_root(None) == Path("/environment")
    monkeypatch.delenv("AEKIT_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert resolve_data_root(None) == tmp_path / "aekit"
