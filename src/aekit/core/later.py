"""Libraries that not every use of a command needs: named at the top of a file, loaded when they are used."""

from __future__ import annotations

import importlib
from typing import Any


class Later:
    """A module that is imported when the first of its names is asked for.

    A file that imports one names it for the type checker as well::

        if TYPE_CHECKING:
            from scipy import special
        else:
            special = Later("scipy.special")

    Args:
        name: Full name of the module.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # asked by those who look at objects of any kind, as copy and inspect do
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)
