"""The parts of benchmarks/RESULTS.md: measured one by one, kept in runs/bench/, and written into their places.

RESULTS.md is prose with a place for each part, between the comments ``<!-- name -->`` and ``<!-- /name -->``. This
module knows no single benchmark: each benchmark defines its own parts and passes them to :func:`main`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
BENCH = Path("runs/bench")
WRAPPING = {"break_long_words": False, "break_on_hyphens": False}


@dataclass(frozen=True)
class Part:
    """A part of RESULTS.md: ``measure`` returns what JSON can hold, and ``table`` makes Markdown of it."""

    measure: Callable[[], Any]
    table: Callable[[Any], str]


def main(description: str, parts: Mapping[str, Part]) -> None:
    """Run the command line of a benchmark: measure the parts that are named, or all, and write them into RESULTS.md."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", help=f"what to measure (default: all of {', '.join(parts)})")
    parser.add_argument("--tables", action="store_true", help="measure nothing; write the tables of what was measured")
    arguments = parser.parse_args()
    if unknown := set(arguments.part) - set(parts):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    BENCH.mkdir(parents=True, exist_ok=True)
    for name in arguments.part or parts:
        path = BENCH / f"part-{name}.json"
        if not arguments.tables:
            path.write_text(json.dumps(parts[name].measure(), indent=1))
        if path.exists():
            write(name, parts[name].table(json.loads(path.read_text())))


def write(name: str, text: str) -> None:
    """Replace what stands in the place ``name`` of RESULTS.md, and the line about the machine."""
    page = RESULTS.read_text()
    for place, content in ((name, text), ("machine", machine())):
        page, n = re.subn(
            rf"(?<=<!-- {place} -->\n).*?(?=<!-- /{place} -->)",
            lambda _, content=content: f"\n{_wrapped(content)}\n\n",
            page,
            flags=re.DOTALL,
        )
        if n != 1:
            raise SystemExit(f"{RESULTS}: {n} places named {place}, not 1")
    RESULTS.write_text(page)


def _wrapped(text: str) -> str:
    lines = [line if line.startswith("|") else textwrap.fill(line, 100, **WRAPPING) for line in text.splitlines()]
    return "\n".join(lines)


def machine() -> str:
    """Return a line that describes this machine."""
    import torch

    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    features = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"Machine: {os.cpu_count()} {platform.machine()} cores ({', '.join(features)}), {memory:.0f} GiB, no GPU; "
        f"Python {platform.python_version()}, torch {torch.__version__.partition('+')[0]}, numpy {np.__version__}."
    )
