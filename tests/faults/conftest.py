"""What the tests of reliability share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from children import children
from fault_lab import Zygote

LONG = ("slow", "faults", "real_data")
FIGURES = Path(__file__).resolve().parents[2] / "runs" / "faults"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the short forms of these tests to ``make test-slow``: they start programs, kill them and fill disks."""
    for item in items:
        if Path(item.fspath).parent == Path(__file__).parent and not any(map(item.get_closest_marker, LONG)):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def record() -> Callable[..., None]:
    """Return a function that writes what a long test counted to ``runs/faults/<name>.json``."""

    def write(name: str, **figures: Any) -> None:
        FIGURES.mkdir(parents=True, exist_ok=True)
        (FIGURES / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")

    return write


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """Return a process that starts command lines of aekit cheaply."""
    with children() as start:
        zygote = Zygote(tmp_path_factory.mktemp("zygote"), start)
        yield zygote
        zygote.close()
