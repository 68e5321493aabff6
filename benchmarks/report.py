"""Write benchmarks/RESULTS.md from RESULTS.head.md and the parts in runs/bench/: `python benchmarks/report.py`."""

from __future__ import annotations

import json
import os
import platform
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
    """Fill every measured part into its place; what was not measured on this machine keeps its placeholder."""
    import foundation
    import latent

    tables = {
        "accuracy": foundation.accuracy_table,
        "speed": foundation.speed_table,
        **{name: getattr(latent, f"{name}_table") for name in latent.PARTS},
    }
    text = (HERE / "RESULTS.head.md").read_text().replace("MACHINE", machine())
    for name, table in tables.items():
        path = BENCH / f"part-{name}.json"
        if path.exists():
            text = text.replace(name.upper(), table(json.loads(path.read_text())))
    (HERE / "RESULTS.md").write_text(text)


if __name__ == "__main__":
    write()
