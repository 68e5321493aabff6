"""What a probe measures, as written on the command line."""

from __future__ import annotations

import pytest

from aekit.errors import AekitError
from aekit.images.probe.request import METHODS, ProbeRequest, parse_labels, parse_methods


def test_methods_come_once_in_their_own_order():
    assert parse_methods("pca, frozen,,pca") == ("frozen", "pca")
    assert parse_methods(",".join(METHODS)) == METHODS == ProbeRequest().methods


def test_numbers_of_labels_come_once_and_ascending():
    assert parse_labels("100,20, 100") == (20, 100)
    assert parse_labels(None) == ()


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_methods, "logisitc", "there is no method 'logisitc'; did you mean 'logistic'\\?"),
        (parse_methods, "", "names no method"),
        (parse_labels, "ten", "--labels: 'ten' is not a number of labels"),
        (parse_labels, "0", "--labels: '0' is not a number of labels"),
        (parse_labels, "²", "is not a number of labels"),
        (parse_labels, "9" * 5000, "is not a number of labels"),
        (parse_labels, ",", "names no number"),
    ],
)
def test_what_cannot_be_read_is_refused(parse, text, message):
    with pytest.raises(AekitError, match=message):
        parse(text)
