import threading
import time

import pytest

from aekit.core.threads import in_threads


def test_results_come_in_the_order_of_the_items():
    def work(item):
        time.sleep(0.01 if item % 2 else 0)
        return item * item

    assert list(in_threads(work, range(20), jobs=4)) == [item * item for item in range(20)]


def test_as_many_threads_work_as_are_asked_for():
    barrier = threading.Barrier(3, timeout=10)  # breaks unless three wait at once
    assert list(in_threads(lambda item: barrier.wait() >= 0, range(6), jobs=3)) == [True] * 6


def test_an_error_ends_the_rest():
    done = []

    def work(item):
        if item == 2:
            raise ValueError("item 2")
        time.sleep(0.01)
        done.append(item)

    with pytest.raises(ValueError, match="item 2"):
        list(in_threads(work, range(1000), jobs=2))
    assert len(done) < 20
