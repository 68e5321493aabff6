"""The search for nearest codes finds what a plain loop over all of them finds, to the bit and with ties by row."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aekit.images.neighbours as neighbours
from aekit.images.neighbours import nearest


def by_loop(among, codes, k, own_rows=None):
    """Return distances and rows of the k nearest, one pair of codes after another."""
    found = []
    for number, code in enumerate(codes.tolist()):
        own = -1 if own_rows is None else own_rows[number]
        pairs = [(math.dist(code, other), row) for row, other in enumerate(among.tolist()) if row != own]
        found.append(sorted(pairs)[:k])
    return np.array(found, float).reshape(len(codes), -1, 2).transpose(2, 0, 1)


@settings(deadline=None, max_examples=60)
@given(
    m=st.integers(1, 60),
    n=st.integers(1, 12),
    latent=st.integers(1, 4),
    k=st.integers(1, 9),
    values=st.integers(1, 4),
    kind=st.sampled_from([np.float32, np.float64]),
    block=st.sampled_from([8, 30, 1 << 18]),
    seed=st.integers(0, 10**6),
)
def test_codes_with_many_ties_are_found_as_by_a_loop_whatever_the_blocks(m, n, latent, k, values, kind, block, seed):
    generator = np.random.default_rng(seed)
    among, codes = (generator.integers(0, values, (rows, latent)).astype(kind) for rows in (m, n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_BLOCK_VALUES", block)
        patch.setattr(neighbours, "_BLOCK_QUERIES", 5)
        found = nearest(among, codes, k)
    distances, rows = by_loop(among, codes, min(k, m))
    assert (found.rows == rows).all()
    assert found.distances == pytest.approx(distances, rel=1e-15)


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_codes_far_from_zero_and_close_to_each_other_are_told_apart(kind, offset):
    generator = np.random.default_rng(0)
    among, codes = ((generator.normal(size=(rows, 5)) + offset).astype(kind) for rows in (400, 7))
    distances, rows = by_loop(among, codes, 6)
    found = nearest(among, codes, 6)
    assert (found.rows == rows).all()
    assert found.distances == pytest.approx(distances, rel=1e-14)


def test_equal_codes_come_in_the_order_of_their_rows():
    found = nearest(np.ones((200_000, 3), np.float32), np.ones((2, 3), np.float32), 4)
    assert found.rows.tolist() == [[0, 1, 2, 3]] * 2
    assert (found.distances == 0).all()


def test_a_code_is_not_its_own_neighbour_and_its_copies_are():
    among = np.array([[0.0], [1.0], [0.0], [5.0]])
    found = nearest(among, among, 2, own_rows=np.arange(4))
    distances, rows = by_loop(among, among, 2, own_rows=range(4))
    assert (found.rows == rows).all()
    assert (found.distances == distances).all()
    outside = nearest(among, np.array([[4.0]]), 2, own_rows=np.array([-1]))
    assert outside.rows.tolist() == [[3, 1]]


def test_of_fewer_codes_than_are_wanted_all_are_found():
    found = nearest(np.array([[3.0], [1.0]]), np.array([[0.0]]), 8)
    assert (found.rows.tolist(), found.distances.tolist()) == ([[1, 0]], [[1.0, 3.0]])
    assert nearest(np.array([[3.0]]), np.array([[3.0]]), 8, own_rows=np.array([0])).rows.shape == (1, 0)
