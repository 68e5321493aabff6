"""A page contains everything it needs, escaped, and the numbers on it are those of the model."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from aekit.core.torch_settings import torch_settings
from aekit.images.embedding import draw_rows
from aekit.images.explore.models import study_model
from aekit.images.explore.page import ImagesOnPage, build_page
from aekit.images.explore.request import ExploreRequest
from aekit.images.inference import decode_codes
from aekit.images.session import open_session

HOSTILE = "</script><script>document.title='ran'</script>"


@pytest.fixture(scope="module")
def studied(vae_checkpoint):
    """Return a model as a page shows it, all test images, and the rows that are on the page."""
    session = open_session(vae_checkpoint, device="cpu", threads=1)
    with torch_settings():
        checkpoint = next(session.checkpoints())
        images = session.studied(checkpoint, "test")
        rows = draw_rows(len(images), 30, seed=0)
        return study_model(checkpoint, images, rows, ExploreRequest(30)), images, rows


def _page(studied, **changes) -> str:
    model, images, rows = studied
    shown = replace(images.subset(rows), **changes)
    return build_page([model], ImagesOnPage(shown, rows, len(images), "test image"), title="a page", parameters={})


def _blob(page: str, name: str) -> bytes:
    return base64.b64decode(re.search(rf'<script type="text/plain" id="{name}">(.*?)</script>', page)[1])


def _facts(page: str):
    return json.loads(re.search(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)[1])


def test_the_same_arguments_give_the_same_bytes(studied):
    assert _page(studied) == _page(studied)


def test_the_arrays_are_those_of_the_model(studied):
    model, images, rows = studied
    page = _page(studied)
    facts = _facts(page)
    [own] = facts["models"]
    numbers = np.frombuffer(_blob(page, "numbers-0"), "<f4")

    def array(name):
        start, shape = own["numbers"][name]
        return numbers[start : start + int(np.prod(shape))].reshape(shape)

    codes = model.checkpoint.encode(images)
    assert np.array_equal(array("codes"), codes.mean[rows])
    np.testing.assert_allclose(array("sd"), np.exp(0.5 * codes.logvar[rows]), rtol=1e-6)
    decoded = decode_codes(model.checkpoint.model, codes.mean[rows])
    errors = np.square(decoded - images.take(rows) / 255).mean((1, 2, 3))
    np.testing.assert_allclose(array("errors"), errors, rtol=1e-5)
    np.testing.assert_allclose(array("centre"), codes.mean.mean(0), atol=1e-6)
    assert facts["index"] == rows.tolist()
    assert [facts["names"][label] for label in facts["labels"]] == [images.label_text(row) for row in rows]
    assert facts["origins"] == [images.origin_text(row) for row in rows]
    assert np.array_equal(array("prior_sd"), np.ones((1, 2)))


def test_nothing_is_fetched_and_only_its_own_script_runs(studied):
    page = _page(studied)
    assert re.findall(r"""(?:src|href)=["'](?!data:)[^"']*""", page) == []
    policy = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)[1]
    assert policy.startswith("default-src 'none';")
    [style] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    [script] = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    for text in (style, script):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert "unsafe-inline" not in policy


def test_hostile_names_are_texts(studied):
    names = tuple(f"{HOSTILE}{k}" for k in range(10))
    page = _page(studied, class_names=names, name=HOSTILE)
    assert page.count("<script>") == 1
    assert set(_facts(page)["names"]) <= set(names)
    assert HOSTILE in _facts(page)["subtitle"]


def test_every_element_that_the_script_asks_for_is_there(studied):
    page = _page(studied)
    asked = set(re.findall(r'\bby\("([\w-]+)"\)', page))
    assert asked <= set(re.findall(r'\bid="([\w-]+)"', page))
