"""Folders of results as one HTML page: the body of ``aekit report``."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from aekit import __version__
from aekit.core.artifacts import check_writable, write_html
from aekit.core.output import Result
from aekit.core.progress import SILENT, Progress
from aekit.errors import AekitError
from aekit.plotting.html import build_report
from aekit.results.files import Results, read_results
from aekit.results.page import build_sections

SUFFIXES = (".html", ".htm")
MEGABYTE = 1_000_000


def run_report(
    folders: Sequence[Path],
    output: Path | None = None,
    *,
    title: str | None = None,
    max_rows: int = 200,
    max_mb: float = 50,
    progress: Progress = SILENT,
) -> Result:
    """Return the page on folders of results, and how many runs, figures and tables it shows.

    Args:
        folders: Where to look; the folders inside are searched, too.
        output: The page, ``.html``, or a folder for ``report.html``; None is the folder that all of them share.
        title: Heading of the page; None names the folders.
        max_rows: Rows to show per table.
        max_mb: Megabytes of figures to show; further ones are only named.
        progress: Told of files that cannot be read, and of what the page shows.

    Raises:
        AekitError: A folder is not there or holds no results, or the page cannot be written.
    """
    if not math.isfinite(max_mb):
        raise AekitError(f"--max-mb: {max_mb} is not a number of megabytes; give one, such as 50")
    target = _target(folders, output)
    results = read_results(folders, output=target, max_rows=max_rows, max_bytes=round(max_mb * MEGABYTE))
    if results.is_empty:
        named = ", ".join(map(str, folders))
        raise AekitError(f"{named}: holds no checkpoint, figure or table; give a folder of results")
    check_writable(target)
    names = [folder.resolve().name or "results" for folder in folders]
    made_by = {"aekit": __version__, "command": "report", "folders": names, "max_rows": max_rows, "max_mb": max_mb}
    page = build_report(
        build_sections(results, title=_shared(folders).name or "results", max_rows=max_rows, max_mb=max_mb),
        title=title or ", ".join(names),
        footer=f"aekit {__version__} report.",
        parameters=made_by,
        is_wide=True,
    )
    write_html(target, page)
    counts = _counts(results)
    for name, reason in results.unreadable.items():
        progress.notice(f"{name}: {reason}; named in the report")
    progress.notice(", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in counts.items() if n))
    return Result(target, counts)


def _shared(folders: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([folder.resolve() for folder in folders]))


def _target(folders: Sequence[Path], output: Path | None) -> Path:
    if output is None:
        # Not the resolved path, so that what is printed is as relative as what was given.
        return (folders[0] if len(folders) == 1 else Path(os.path.relpath(_shared(folders)))) / "report.html"
    if output.is_dir() or not output.suffix:
        return output / "report.html"
    if output.suffix.lower() not in SUFFIXES:
        raise AekitError(f"--output {output}: a report cannot be a {output.suffix} file; end it in .html")
    return output


def _counts(results: Results) -> dict[str, int]:
    return {
        "runs": len(results.runs),
        "unfinished": len(results.unfinished),
        "figures": len(results.figures),
        "figures_left_out": len(results.left_out),
        "tables": len(results.tables) + len(results.values),
        "unreadable": len(results.unreadable),
    }
