"""What the tests of reliability share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FIGURES = Path(__file__).resolve().parents[2] / "runs" / "faults"


@pytest.fixture(scope="session")
def record() -> Callable[..., None]:
    """Return a function that writes what a long test counted to ``runs/faults/<name>.json``."""

    def write(name: str, **figures: Any) -> None:
        FIGURES.mkdir(parents=True, exist_ok=True)
        (FIGURES / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")

    return write
