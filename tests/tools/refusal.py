"""Values that a settings class refuses."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from aekit.errors import AekitError


def check_refused(cls: type, values: Mapping[str, object], said: str) -> None:
    """Check that ``cls(**values)`` is refused in one line that holds ``said``: the option and the reason."""
    with pytest.raises(AekitError) as told:
        cls(**values)
    assert said in str(told.value)
    assert "\n" not in str(told.value)
