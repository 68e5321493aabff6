"""Images that cannot be used, and what can be done: to leave them out is an option of trainings, not of studies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from aekit.errors import AekitError

_OR_SKIP = ", or leave such images out with --skip-bad"


class BadImagesError(AekitError):
    """Some images cannot be decoded, or are not finite.

    Args:
        text: What is wrong, and what to do besides leaving them out.
    """

    def __str__(self) -> str:
        """Return the text with the option of trainings that leaves them out."""
        return f"{super().__str__()}{_OR_SKIP}"

    def without_option(self) -> AekitError:
        """Return the error for a command that has no such option."""
        return AekitError(super().__str__())


@contextlib.contextmanager
def read_by_study() -> Iterator[None]:
    """Let errors of images that cannot be used name no option that only trainings have."""
    try:
        yield
    except BadImagesError as error:
        raise error.without_option() from error
