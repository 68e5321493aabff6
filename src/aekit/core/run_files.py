"""The life of a training's files: claimed, continued from a state, finished; the same for every trainer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aekit.core.artifacts import check_writable
from aekit.core.checkpoint import Header, resume_path
from aekit.core.durable import forget_writer, one_writer
from aekit.core.progress import SILENT, Progress
from aekit.core.settings import as_text, flag
from aekit.core.weights import check_intact
from aekit.errors import AekitError

_OPTIONS = {"range": "value_range", "spacing_mm": "spacing"}  # settings whose option is called otherwise
OTHER_LABELS = "{}: was trained with other labels; use another --output or --overwrite"
_OTHERS = {
    "labels_fingerprint": OTHER_LABELS,
    "fingerprint": "{}: was trained on other scans; use another --output or --overwrite",
    "table_fingerprint": "{}: was trained on another version of the table; use another --output or --overwrite",
}


@dataclass(frozen=True)
class RunFiles:
    """The files of a training: claimed before it starts, and finished or continued from its state.

    Attributes:
        path: The checkpoint.
        companions: Suffixes of the files that share its stem.
        read_own: Returns the header of a checkpoint or state at a path, and raises an AekitError if it cannot be read
            or is of a run with other settings.
        overwrite: Start over, whatever exists.
        resume: Continue an unfinished run; leave a finished one as it is.
    """

    path: Path
    companions: Sequence[str]
    read_own: Callable[[Path], Header]
    overwrite: bool = False
    resume: bool = False

    @property
    def state(self) -> Path:
        """Return where the state of an unfinished run is kept."""
        return resume_path(self.path)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the output for this process; a second process that would write it is refused."""
        with one_writer(self.path):
            yield

    def claim(self, progress: Progress = SILENT) -> Header | None:
        """Return the header of the run if it is finished already, or None if it is to be trained.

        Raises:
            AekitError: A result would be replaced without ``overwrite``, or the output cannot be written.
        """
        if not (self.overwrite or self.resume):
            # An unfinished run has a history, too, which is not what stands in the way.
            is_unfinished = self.state.exists() and not self.path.exists()
            companions = () if is_unfinished else [self.path.with_suffix(suffix) for suffix in self.companions]
            for path in (self.path, *companions):
                if path.exists():
                    raise AekitError(
                        f"{path}: already exists; replace it with --overwrite, or leave a finished run untouched with "
                        "--resume"
                    )
        header = None if self.overwrite else self.finished()
        if header is not None:
            if self.state.exists():
                progress.notice(f"{self.state}: belongs to another run; it is left as it is")
            return header
        if self.state.exists() and not (self.overwrite or self.resume):
            raise AekitError(
                f"{self.state}: holds an unfinished run; continue it with --resume or start over with --overwrite"
            )
        check_writable(self.path)
        return None

    def finished(self) -> Header | None:
        """Return the header of a finished run, whose checkpoint is whole, or None if there is none.

        A state of the same run is newer than the checkpoint, as a finished run removes its state: either the
        checkpoint was about to be replaced, or only the state is left to be removed.

        Raises:
            AekitError: There is a file that is not a checkpoint, is damaged, or is of other settings.
        """
        with contextlib.suppress(AekitError):
            self.read_own(self.state)
            return None
        if not self.path.exists():
            return None
        header = self.read_own(self.path)
        check_intact(self.path)  # or every run that continues would take it for whole, and nothing could read it
        forget_writer(self.path)
        return header

    def is_unfinished(self) -> bool:
        """Return whether there is a state to continue from, and that is wanted."""
        return self.resume and self.state.exists()

    def finish(self) -> None:
        """Remove the state, as the checkpoint and its companions are there."""
        self.state.unlink(missing_ok=True)


def check_same_run(
    path: Path, wanted: Mapping[str, Mapping[str, Any]], found: Header, defaults: Mapping[str, Mapping[str, Any]]
) -> None:
    """Raise an AekitError if the file was made with other settings or other images than are wanted now.

    Args:
        path: The file, for messages.
        wanted: The settings by part: data, model and train.
        found: What the file says of itself.
        defaults: The default of each setting by part: what a file was made with that is older than the setting.
    """
    for part, settings in found.configuration.items():
        for key, value in {**defaults[part], **wanted[part]}.items():
            there = settings.get(key, defaults[part].get(key))
            if key == "table_fingerprint" and there is None:
                continue  # of a file from before it was recorded
            if _as_read(value) != _as_read(there):
                if key in _OTHERS:
                    raise AekitError(_OTHERS[key].format(path))
                if key == "splits":
                    what = "in another order of the images" if _same_images(value, there) else "on other images"
                    raise AekitError(f"{path}: was trained {what}; use another --output or --overwrite")
                raise AekitError(
                    f"{path}: was trained {_difference(key, there, value)}; give the same options, another --output, "
                    "or --overwrite"
                )


def _as_read(value: Any) -> Any:
    """Return a setting as JSON has it: tuples are lists."""
    return list(value) if isinstance(value, tuple) else value


def _difference(key: str, there: Any, wanted: Any) -> str:
    """Return with which value of a setting a file was made, and not with which; None is an option that is left out."""
    without = f"without {flag(_OPTIONS.get(key, key))}"
    if there is None:
        return f"{without}, not with {key} {_text(wanted)}"
    return f"with {key} {_text(there)}, not {without if wanted is None else _text(wanted)}"


def _text(value: Any) -> str:
    is_size = isinstance(value, (list, tuple)) and all(isinstance(each, int) for each in value)
    return as_text(value) if is_size else str(value)


def _same_images(splits: dict[str, Any], others: Any) -> bool:
    """Return whether the splits of two headers have the same images, if not in the same order."""
    if not isinstance(others, dict) or splits.keys() != others.keys():
        return False
    return all(
        isinstance(others[name], dict) and own.get("fingerprint") == others[name].get("fingerprint")
        for name, own in splits.items()
    )
