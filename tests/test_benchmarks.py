"""The benchmarks start, import each other in one direction, and have a place in RESULTS.md for each result."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
FILES = sorted(BENCHMARKS.glob("*.py"))
WITH_PARTS = ["cpu", "foundation", "frontier", "large", "latent", "mri", "startup"]
SHARED = {"report", "program"}  # what all may import
ALLOWED = {"latent": {"tsne"}}


def _parts(name: str) -> list[str]:
    for node in ast.parse((BENCHMARKS / f"{name}.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "PARTS":
            return [key.value for key in node.value.keys]
    return []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_benchmark_imports_what_all_share_and_no_other_benchmark(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    met = imported & {file.stem for file in FILES}
    assert met <= (set() if path.stem in SHARED else SHARED | ALLOWED.get(path.stem, set()))


def test_results_have_one_place_for_every_part():
    page = (BENCHMARKS / "RESULTS.md").read_text()
    for part in [part for name in WITH_PARTS for part in _parts(name)]:
        assert page.count(f"<!-- {part} -->\n") == page.count(f"<!-- /{part} -->\n") == 1, part


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_PARTS)
def test_a_benchmark_names_its_parts(name):
    done = subprocess.run([sys.executable, BENCHMARKS / f"{name}.py", "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(part in done.stdout for part in _parts(name))


@pytest.mark.parametrize("path", [*FILES, *sorted(BENCHMARKS.glob("rivals/*.py"))], ids=lambda path: path.stem)
def test_what_a_benchmark_imports_from_aekit_exists(path):
    for module, names in re.findall(r"from (aekit[\w.]*) import ([\w, ]+)", path.read_text()):
        for name in names.split(","):
            name = name.split(" as ")[0].strip()
            found = importlib.import_module(module)
            assert hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}"), f"{module}: {name}"
