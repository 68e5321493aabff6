"""Downloads, all through torchvision, which knows mirrors and checksums."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from aekit.core.durable import held, remove_abandoned
from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError, shown
from aekit.images.catalog import CATALOG

# In a process of its own: torchvision takes seconds to import, prints, draws bars, and without the timeout would wait
# minutes for a silent firewall. The process that trains must be spared all of this.
_SCRIPT = """
import os, socket, sys, threading
# The other end of stdin is closed when aekit ends, for whatever reason.
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
import torchvision
socket.setdefaulttimeout(15)
name, folder = sys.argv[1:]
options = {"split": "balanced"} if name == "EMNIST" else {}
getattr(torchvision.datasets, name)(folder, download=True, **options)
"""
_FOLDER = ".download-"
_POLL_SECONDS = 0.5  # between two measurements of what has arrived
_TAIL_BYTES = 4096  # of torchvision's output, which names the cause at its end


class _Failed(Exception):
    pass


def download(name: str, data_root: Path, *, progress: Progress = SILENT) -> None:
    """Download a data set into the data root, in torchvision's layout: completely, or not at all.

    Args:
        name: A name in the catalogue.
        data_root: Folder of the data sets; created if needed.
        progress: Receives the number of megabytes that have arrived.

    Raises:
        AekitError: There is no network, the folder cannot be written, or the download is damaged.
    """
    try:
        # Into a folder next to its place: an interrupted download leaves nothing that looks like the data set.
        with _new(data_root), tempfile.TemporaryDirectory(dir=data_root, prefix=_FOLDER) as folder, held(Path(folder)):
            remove_abandoned(data_root, f"{_FOLDER}*")
            _fetch(name, Path(folder), progress)
            _move_into(Path(folder), data_root)
    except OSError as error:
        raise _failure(name, data_root, f"its folder cannot be written ({error.strerror or error})") from error
    except _Failed as error:
        raise _failure(name, data_root, f"the download failed ({error})") from error


@contextlib.contextmanager
def _new(folder: Path) -> Iterator[None]:
    """Create a folder, and remove it again if the block fails."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for place in new:
                place.rmdir()
        raise


def _fetch(name: str, folder: Path, progress: Progress) -> None:
    command = [sys.executable, "-P", "-c", _SCRIPT, CATALOG[name].torchvision, str(folder)]
    total = round(CATALOG[name].megabytes)
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            while _is_running(process):
                progress.update(f"downloading {name} (MB)", min(_megabytes(folder), total), total)
        finally:
            process.kill()
            process.communicate()
        if process.returncode != 0:
            errors.seek(max(0, errors.seek(0, 2) - _TAIL_BYTES))
            raise _Failed(_last_line(errors.read()))
    for file in folder.glob("EMNIST/raw/*"):
        if "balanced" not in file.name:  # the archive includes 2 GB of other splits
            file.unlink()


def _is_running(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def _megabytes(folder: Path) -> int:
    n_bytes = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # removed in the meantime
            n_bytes += path.stat().st_size
    return n_bytes // 1_000_000


def _move_into(source: Path, target: Path) -> None:
    for path in source.iterdir():
        if path.is_dir():
            (target / path.name).mkdir(exist_ok=True)
            _move_into(path, target / path.name)
        else:
            path.replace(target / path.name)


def _last_line(errors: bytes) -> str:
    lines = [line.strip() for line in errors.decode(errors="replace").splitlines() if line.strip()]
    return shown(lines[-1]) if lines else "torchvision gave no reason"


def _failure(name: str, data_root: Path, what: str) -> AekitError:
    folder = shown(data_root / CATALOG[name].folder)
    return AekitError(
        f"--data {name}: it is missing, and {what}; put its files into {folder}, or use digits, which needs no download"
    )
