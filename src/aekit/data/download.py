"""Downloads, all through torchvision: it knows the mirrors and the check sums."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

from aekit.data.catalog import CATALOG
from aekit.data.splits import Progress, shown
from aekit.errors import AekitError

_INTERVAL_S = 0.5  # between two reports
_TIMEOUT_S = 15.0  # of one connection or read; without it a silent firewall holds the command for minutes


def download(name: str, data_root: Path, *, on_progress: Progress | None = None) -> None:
    """Fetch a data set into the data root, in torchvision's layout: whole, or not at all.

    Args:
        name: A name in the catalogue.
        data_root: Folder of the data sets; made if it is not there.
        on_progress: Told the megabytes that arrived.

    Raises:
        AekitError: There is no network, the folder cannot be written, or what came is damaged.
    """
    try:
        data_root.mkdir(parents=True, exist_ok=True)
        # Beside its place: an interrupted download leaves nothing that looks like the data set.
        with tempfile.TemporaryDirectory(dir=data_root, prefix=".download-") as folder:
            with _reporting(name, Path(folder), on_progress), _quiet(), _timeout():
                _fetch(name, folder)
            _move_into(Path(folder), data_root)
    except PermissionError as error:
        raise _refusal(name, data_root, "it is not there, and the folder cannot be written to fetch it") from error
    except (OSError, RuntimeError, ImportError, ValueError, EOFError) as error:
        raise _refusal(name, data_root, f"it is not there, and the download failed ({_reason(error)})") from error
    except (http.client.HTTPException, zipfile.BadZipFile, tarfile.TarError) as error:
        raise _refusal(name, data_root, f"it is not there, and the download came damaged ({error})") from error


def _fetch(name: str, folder: str) -> None:
    import torchvision

    dataset = getattr(torchvision.datasets, CATALOG[name].torchvision)
    if name == "emnist":
        dataset(folder, split="balanced", download=True)
        for file in Path(folder, "EMNIST", "raw").iterdir():  # 2 GB of other splits come along
            if "balanced" not in file.name:
                file.unlink()
    else:
        dataset(folder, download=True)


def _move_into(source: Path, target: Path) -> None:
    for path in source.iterdir():
        if path.is_dir():
            (target / path.name).mkdir(exist_ok=True)
            _move_into(path, target / path.name)
        else:
            path.replace(target / path.name)


def _refusal(name: str, data_root: Path, what: str) -> AekitError:
    folder = shown(data_root / CATALOG[name].folder)
    return AekitError(f"--data {name}: {what}; put its files into {folder}, or use --data digits, which needs none")


def _reason(error: BaseException) -> str:
    # torchvision wraps the cause into a report of many lines; the last one with text says it.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown(lines[-1] if lines else type(error).__name__)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # torchvision prints and draws bars; stdout belongs to paths, and progress is reported by size instead.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def _timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _reporting(name: str, folder: Path, on_progress: Progress | None) -> Iterator[None]:
    if on_progress is None:
        yield
        return
    done = threading.Event()
    total = round(CATALOG[name].megabytes)

    def watch(report: Progress) -> None:
        while not done.wait(_INTERVAL_S):
            arrived = sum(_size(file) for file in folder.rglob("*")) // 1_000_000
            report(f"downloading {name} (MB)", min(arrived, total), total)

    watcher = threading.Thread(target=watch, args=(on_progress,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
