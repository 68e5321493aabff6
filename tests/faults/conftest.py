"""What the tests of reliability share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_lab import Zygote

FIGURES = Path(__file__).resolve().parents[2] / "runs" / "faults"


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
    zygote = Zygote(tmp_path_factory.mktemp("zygote"))
    yield zygote
    zygote.close()
