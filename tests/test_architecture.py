"""The rules of the house: who may import whom, what start-up costs, and that public things are explained."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "aekit"
LAYERS = [
    ["errors"],
    ["config"],
    ["device", "distributed", "durable"],
    ["data", "models", "losses", "analysis", "figures", "artifacts"],
    ["training", "steps", "checkpoint", "inference"],
    ["runs", "grid", "ray_grid", "brains", "completion"],
    ["options", "console", "launch"],
    ["commands", "help_page"],
    ["cli"],
    ["__init__", "__main__"],
]
LAYER = {name: number for number, names in enumerate(LAYERS, start=1) for name in names}
# Within a row: the networks' base needs the losses' meaning of a logit, the loop takes steps, results of training go
# into a checkpoint, a grid is made of runs, on Ray as well, and brains are refused like runs where a checkpoint of
# other settings is in the way.
SIDEWAYS = {
    ("models", "losses"),
    ("training", "steps"),
    ("checkpoint", "training"),
    ("grid", "runs"),
    ("ray_grid", "grid"),
    ("ray_grid", "runs"),
    ("brains", "runs"),
}
FILES = sorted(SOURCE.rglob("*.py"))


def _part(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """Return the parts of aekit that a file imports, but for types alone."""
    found = set()
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.split(".")[0] == "aekit"
            and id(node) not in for_types
        ):
            names = node.module.split(".")[1:]
            found |= {names[0]} if names else {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_imports_from_lower_layers_only(path):
    part = _part(path)
    assert part in LAYER, f"{part} has no layer yet: give it one here and in CONTRIBUTING.md"
    if part == "__init__":
        return  # load() is a door to everything
    for imported in _imports(path) - {part, "__version__"}:
        allowed = LAYER[imported] < LAYER[part] or (part, imported) in SIDEWAYS
        assert allowed, f"{path.name} (layer {LAYER[part]}) imports {imported} (layer {LAYER[imported]})"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_public_functions_and_classes_say_what_they_return(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name} has no docstring"


def test_no_module_is_called_after_nothing():
    assert not {path.stem for path in FILES} & {"utils", "util", "helpers", "common", "misc"}


def test_only_the_console_prints():
    for path in FILES:
        if path.name in ("console.py", "cli.py"):
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert "print" not in {getattr(call.func, "id", "") for call in calls}, path.name


def test_nothing_unpickles():
    for path in FILES:
        source = path.read_text()
        assert "torch.load(" not in source, path.name
        assert "allow_pickle=True" not in source, path.name


def _modules_loaded_by(*arguments: str) -> set[str]:
    script = (
        "import sys; from aekit.cli import app\n"
        f"try: app({list(arguments)!r})\n"
        "except SystemExit as error: assert not error.code, error.code\n"
        "print('|'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split("|"))


HEAVY = {
    "torch",
    "torchvision",
    "numpy",
    "matplotlib",
    "pandas",
    "sklearn",
    "scipy",
    "PIL",
    "openTSNE",
    "bokeh",
    "nibabel",
}


@pytest.mark.parametrize("arguments", [["--help"], ["train-vae", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments):
    assert not _modules_loaded_by(*arguments) & HEAVY


def test_info_loads_nothing_heavy(vae_checkpoint):
    assert not _modules_loaded_by("info", str(vae_checkpoint)) & HEAVY


@pytest.mark.slow
def test_training_never_loads_torchvision(tmp_path):
    loaded = _modules_loaded_by(
        "train-vae", "--data", "digits", "--epochs", "1", "--limit", "20", "-o", str(tmp_path / "x.safetensors")
    )
    assert "torch" in loaded
    assert "torchvision" not in loaded
