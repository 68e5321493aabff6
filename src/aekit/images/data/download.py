"""Downloads, all through torchvision: it knows the mirrors and the check sums."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from aekit.core.durable import held, remove_abandoned
from aekit.core.progress import OnProgress
from aekit.errors import AekitError, shown
from aekit.images.data.catalog import CATALOG

# A process of its own: torchvision takes seconds to import, prints, draws bars, and would wait minutes for a silent
# firewall, were it not for the timeout. None of that must happen to the process that trains.
_SCRIPT = """
import os, socket, sys, threading
# The other end of stdin is closed when aekit ends, however it does.
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
import torchvision
socket.setdefaulttimeout(15)
name, folder = sys.argv[1:]
options = {"split": "balanced"} if name == "EMNIST" else {}
getattr(torchvision.datasets, name)(folder, download=True, **options)
"""
_FOLDER = ".download-"
_POLL_SECONDS = 0.5  # between two looks at what has arrived
_TAIL_BYTES = 4096  # of what torchvision said; the end names the cause


class _Failed(Exception):
    pass


def download(name: str, data_root: Path, *, on_progress: OnProgress | None = None) -> None:
    """Fetch a data set into the data root, in torchvision's layout: whole, or not at all.

    Args:
        name: A name in the catalogue.
        data_root: Folder of the data sets; made if it is not there.
        on_progress: Told the megabytes that have arrived.

    Raises:
        AekitError: There is no network, the folder cannot be written, or what came is damaged.
    """
    try:
        # Beside its place: an interrupted download leaves nothing that looks like the data set.
        with _made(data_root), tempfile.TemporaryDirectory(dir=data_root, prefix=_FOLDER) as folder, held(Path(folder)):
            remove_abandoned(data_root, f"{_FOLDER}*")
            _fetch(name, Path(folder), on_progress)
            _move_into(Path(folder), data_root)
    except OSError as error:
        raise _refusal(name, data_root, f"its folder cannot be written ({error.strerror or error})") from error
    except _Failed as error:
        raise _refusal(name, data_root, f"the download failed ({error})") from error


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder, and take it away again if what was to go into it does not come."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for place in new:
                place.rmdir()
        raise


def _fetch(name: str, folder: Path, on_progress: OnProgress | None) -> None:
    command = [sys.executable, "-P", "-c", _SCRIPT, CATALOG[name].torchvision, str(folder)]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)
        try:
            while _is_running(process):
                if on_progress is not None:
                    total = round(CATALOG[name].megabytes)
                    on_progress(f"downloading {name} (MB)", min(_megabytes(folder), total), total)
        finally:
            process.kill()
            process.communicate()
        if process.returncode != 0:
            said.seek(max(0, said.seek(0, 2) - _TAIL_BYTES))
            raise _Failed(_last_line(said.read()))
    for file in folder.glob("EMNIST/raw/*"):
        if "balanced" not in file.name:  # 2 GB of other splits come along
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
        with contextlib.suppress(OSError):  # gone again
            n_bytes += path.stat().st_size
    return n_bytes // 1_000_000


def _move_into(source: Path, target: Path) -> None:
    for path in source.iterdir():
        if path.is_dir():
            (target / path.name).mkdir(exist_ok=True)
            _move_into(path, target / path.name)
        else:
            path.replace(target / path.name)


def _last_line(said: bytes) -> str:
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    return shown(lines[-1]) if lines else "torchvision ended without a word"


def _refusal(name: str, data_root: Path, what: str) -> AekitError:
    folder = shown(data_root / CATALOG[name].folder)
    return AekitError(
        f"--data {name}: it is not there, and {what}; "
        f"put its files into {folder}, or use --data digits, which needs no download"
    )
