"""Write benchmarks/RESULTS.md from RESULTS.head.md and the parts in runs/bench/: `python benchmarks/report.py`."""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
BENCH = Path("runs/bench")


def machine() -> str:
    """Return what it was measured on."""
    import torch

    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    features = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} {platform.machine()} cores ({', '.join(features)}), {memory:.0f} GiB, no GPU; "
        f"Python {platform.python_version()}, torch {torch.__version__.partition('+')[0]}, numpy {np.__version__}"
    )


def write() -> None:
    """Fill every measured part into its place; what was not measured here stays as it stands in RESULTS.md."""
    import foundation
    import large
    import latent
    import mri
    import rivals

    tables = {
        "accuracy": foundation.accuracy_table,
        "speed": foundation.speed_table,
        **{name: getattr(rivals, f"{name}_table") for name in rivals.PARTS},
        **{name: getattr(latent, f"{name}_table") for name in latent.PARTS},
        **{name: getattr(mri, f"{name}_table") for name in mri.PARTS},
        **{name: getattr(large, f"{name}_table") for name in large.PARTS},
    }
    head = (HERE / "RESULTS.head.md").read_text()
    results = HERE / "RESULTS.md"
    before = results.read_text() if results.exists() else ""
    text = head
    for name, table in tables.items():
        path = BENCH / f"part-{name}.json"
        found = table(json.loads(path.read_text())) if path.exists() else _standing(name.upper(), head, before)
        text = re.sub(rf"^{name.upper()}$", lambda _, found=found: found or _[0], text, flags=re.MULTILINE)
    results.write_text(text.replace("MACHINE", machine()))


def _standing(place: str, head: str, before: str) -> str:
    """Return what stands in ``before`` where ``head`` has a placeholder: between the lines around it."""
    text, after = re.split(rf"^{place}$", head, maxsplit=1, flags=re.MULTILINE)
    above, below = text.rstrip().splitlines()[-1], after.lstrip().splitlines()
    start = before.find(f"{above}\n\n")
    if start < 0:
        return ""
    start += len(above) + 2
    ends = [before.find(f"\n\n{below[0]}\n", start) if below else -1, before.find("\n\n## ", start)]
    return before[start : min((end for end in ends if end >= 0), default=len(before.rstrip()))]


if __name__ == "__main__":
    write()
