"""The rules of the house: who may import whom, what start-up costs, and that public things are explained."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "aekit"
# Who may import whom: a file imports from its own part and from those that stand before it. Images and brains never
# meet. ``terminal`` knows core and how runs are configured, and the library never knows the terminal.
BELOW: dict[str, set[str]] = {"errors": set()}
BELOW["core"] = {"errors"}
BELOW["plotting"] = BELOW["core"] | {"core"}
BELOW["images"] = BELOW["plotting"] | {"plotting"}
BELOW["brains"] = BELOW["plotting"] | {"plotting"}
BELOW["results"] = BELOW["images"] | {"images", "brains"}
BELOW["python"] = BELOW["images"] | {"images"}
BELOW["terminal"] = {
    "errors",
    "core",
    "images.catalog",
    "images.config",
    "images.run_settings",
    "images.parent",
    "brains.config",
}
BELOW["commands"] = BELOW["results"] | {"results", "terminal"}
BELOW["cli"] = {"errors", "core", "terminal", "commands"}
BELOW["__main__"] = {"cli"}
STUDIES = (
    "evaluation",
    "export",
    "interpolation",
    "pca",
    "probe",
    "tsne",
    "explore",
    "decorrelation",
    "disentangle",
    "similarity",
    "outliers",
    "similar_images",
    "sample_quality",
    "sweep",
)
SHARED_STUDY = "pca"  # components are what other studies compare with
FILES = sorted(SOURCE.rglob("*.py"))


def _parts(path: Path) -> list[str]:
    parts = list(path.relative_to(SOURCE).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts


@cache
def _tree(path: Path) -> ast.Module:
    """Return the parsed source of a file, which all rules share."""
    return ast.parse(path.read_text())


@cache
def _functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(_tree(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


@cache
def _imports(path: Path) -> set[str]:
    """Return the modules of aekit that a file imports, but for types alone, such as ``images.config``."""
    found = set()
    tree = _tree(path)
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
            inside = ".".join(node.module.split(".")[1:])
            for alias in node.names:
                name = f"{inside}.{alias.name}" if inside else alias.name
                is_module = (SOURCE / Path(*name.split("."))).is_dir() or (
                    SOURCE / Path(*name.split(".")).with_suffix(".py")
                ).is_file()
                found.add(name if is_module else inside)
    return found - {""}


def test_a_file_imports_only_from_what_lies_below_it():
    wrong = []
    for path in FILES:
        parts = _parts(path)
        if parts == ["__init__"]:
            continue  # load() is a door to everything
        assert parts[0] in BELOW, f"{parts[0]} has no place yet: give it one here and in CONTRIBUTING.md"
        known = {parts[0], *BELOW[parts[0]]}
        for imported in _imports(path):
            if imported.split(".")[0] not in known and imported not in known:
                wrong.append(f"{'/'.join(parts)} imports {imported}")
    assert wrong == []


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_imports_no_other_study_but_pca(study):
    others = {f"images.{other}" for other in STUDIES if other not in (study, SHARED_STUDY)}
    for path in (SOURCE / "images" / study).glob("*.py"):
        met = {name for name in _imports(path) if ".".join(name.split(".")[:2]) in others}
        assert not met, f"{study}/{path.name} imports {met}"


def test_the_foundations_of_images_import_no_study():
    studies = {f"images.{study}" for study in STUDIES}
    for path in (SOURCE / "images").rglob("*.py"):
        if _parts(path)[1:2] and _parts(path)[1] not in STUDIES:
            assert not {name for name in _imports(path) if ".".join(name.split(".")[:2]) in studies}, path.name


def test_only_the_lazy_parts_import_inside_functions():
    wrong = []
    for path in FILES:
        if _parts(path)[0] in ("cli", "commands", "terminal", "__init__"):
            continue
        for node in _functions(path):
            inner = [each for each in ast.walk(node) if isinstance(each, (ast.Import, ast.ImportFrom))]
            wrong += [f"{path.relative_to(SOURCE)}: {node.name} has {ast.unparse(each)}" for each in inner]
    assert wrong == []


def test_public_functions_and_classes_say_what_they_return():
    wrong = []
    for path in FILES:
        for node in _tree(path).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                wrong += [] if ast.get_docstring(node) else [f"{path.relative_to(SOURCE)}: {node.name}"]
    assert wrong == []


def test_no_module_is_called_after_nothing():
    assert not {path.stem for path in FILES} & {"utils", "util", "helpers", "common", "misc"}


def test_only_the_terminal_prints():
    for path in FILES:
        if path.name in ("console.py", "streams.py", "cli.py"):
            continue
        calls = [node for node in ast.walk(_tree(path)) if isinstance(node, ast.Call)]
        assert "print" not in {getattr(call.func, "id", "") for call in calls}, path.name


def test_nothing_unpickles():
    for path in FILES:
        source = path.read_text()
        loads = re.findall(r"torch\.load\(.*", source)
        assert all("weights_only=True" in load for load in loads), path.name  # which makes tensors and nothing else
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


MAX_BODY = 15  # lines of a command: it is one sentence
MAX_LINES = 45  # lines of code of any function, without its docstring
COMMANDS = [path for path in (SOURCE / "commands").glob("*.py") if path.name != "__init__.py"]


def _n_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, source: list[str]) -> int:
    """Return the lines of code of a function's body, without docstring, comments and blank lines."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    lines = source[body[0].lineno - 1 : function.end_lineno] if body else []
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines)


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_a_file_of_commands_holds_one_command_of_a_few_lines_and_nothing_else(path):
    source = path.read_text()
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    assert [function.name for function in functions] == [path.stem]
    assert _n_lines(functions[0], source.splitlines()) <= MAX_BODY
    assert "console.result(" in source


def test_there_is_a_file_for_each_command_and_all_of_them_are_short():
    assert sum(len(path.read_text().splitlines()) for path in COMMANDS) < 100 * len(COMMANDS)


def test_no_function_is_longer_than_a_screen():
    wrong = []
    for path in FILES:
        lines = path.read_text().splitlines()
        for node in _functions(path):
            if _n_lines(node, lines) > MAX_LINES:
                wrong.append(f"{path.relative_to(SOURCE)}: {node.name}")
    assert wrong == []
