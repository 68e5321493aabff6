"""The exceptions that leave aekit on purpose: one line, whatever stands in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aekit.errors import MAX_MESSAGE, AekitError, Stopped, UsageError, count, nearest, shown


@given(st.text())
def test_a_message_is_one_printable_line(text):
    message = str(AekitError(f"x: {text}; fix it"))
    assert message.isprintable()


def test_a_message_of_megabytes_keeps_its_beginning_and_its_end():
    message = str(AekitError("path: " + "x" * 10**6 + "; remedy"))
    assert len(message) < MAX_MESSAGE
    assert message.startswith("path: ")
    assert message.endswith("; remedy")


@pytest.mark.parametrize(
    ("word", "found"), [("mnits", "; did you mean 'mnist'?"), ("zzz", ""), ("FEMALE", "; did you mean 'Female'?")]
)
def test_the_nearest_choice_is_named_if_one_is_near(word, found):
    assert nearest(word, ["mnist", "cifar10", "Female"]) == found


@pytest.mark.parametrize(
    ("word", "other"), [("sex", "SES"), ("gmv", "wmv"), ("age", "stage"), ("age", "MR Delay"), ("site", "suite_no")]
)
def test_another_word_is_not_a_slip_of_the_pen(word, other):
    assert nearest(word, [other]) == ""
    assert nearest(other, [word]) == ""


@pytest.mark.parametrize(
    ("word", "other"), [("age", "agge"), ("sex", "sxe"), ("gmv", "gmvv"), ("fashion", "fashion-mnist"), ("Bog", "Bag")]
)
def test_added_missing_swapped_and_wrong_letters_are_slips(word, other):
    assert nearest(word, [other]) == f"; did you mean '{other}'?"


def test_a_single_thing_is_counted_in_the_singular_and_none_or_several_in_the_plural():
    assert [count(n, "image") for n in (0, 1, 2, 12_000)] == ["0 images", "1 image", "2 images", "12,000 images"]
    assert [count(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]
    assert [count(n, "row has", "rows have") for n in (1, 2)] == ["1 row has", "2 rows have"]


def test_advice_follows_the_nearest_choice_as_a_sentence_and_stands_alone_without_one():
    assert nearest("mnits", ["mnist"], "choose one of mnist") == "; did you mean 'mnist'? Choose one of mnist"
    assert nearest("zzz", ["mnist"], "choose one of mnist") == "; choose one of mnist"


def test_the_dashes_of_options_do_not_make_them_similar():
    assert nearest("--beta", ["--data", "--latent"]) == ""
    assert nearest("--latnet", ["--data", "--latent"]) == "; did you mean '--latent'?"


def test_a_usage_error_is_an_error_and_a_stop_is_not():
    assert issubclass(UsageError, AekitError)
    assert not issubclass(Stopped, AekitError)
    assert Stopped("x", 15).signal_number == 15


def test_names_are_shown_without_control_or_undecodable_characters():
    assert shown("a\x1b[31mb\nc") == "a\\x1b[31mb\\nc"
    assert shown(b"\xff.png".decode("utf-8", "surrogateescape")) == "\\udcff.png"
    assert shown("Zürich 漢字") == "Zürich 漢字"
