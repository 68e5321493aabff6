"""README.md and docs/ agree with the program: their commands, options and links exist, and no command is missing."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from aekit.cli import app

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
EXAMPLES = sorted((ROOT / "examples").glob("*/README.md"))
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
ALL_PAGES = [*PAGES, CONTRIBUTING, ROOT / "CHANGELOG.md", *DECISIONS, *EXAMPLES, RESULTS]
OPERATORS = set("|;&()<>")  # shlex makes tokens of these characters alone
MAKE = {"$(AEKIT)": "aekit", "$@": "target", "$<": "source", "$*": "2"}

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(aekit [^`]+)`")
_LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")
_HEADING = re.compile(r"^#+ (.*)$", flags=re.MULTILINE)


@functools.cache
def _parser() -> typer.core.TyperGroup:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return group


def _command_lines(text: str) -> Iterator[str]:
    """Yield the lines of shell in a page: the commands in its blocks, and those in its text."""
    for language, body in _BLOCK.findall(text):
        body = body.replace("\\\n", " ")
        for line in body.splitlines():
            if language == "console" and line.startswith("$ "):
                yield line.removeprefix("$ ")
            elif language in ("sh", "make"):
                yield line
    for line in _INLINE.findall(_BLOCK.sub("", text)):
        yield line.replace("\\|", "|")  # escaped in the cell of a table


def _calls(line: str) -> Iterator[list[str]]:
    """Yield the arguments of every aekit in a line of shell."""
    for variable, value in MAKE.items():
        line = line.replace(variable, value)
    line = re.sub(r"\$\w+", "1", line)  # in a loop over numbers
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    arguments: list[str] | None = None
    for token in lexer:
        if set(token) <= OPERATORS:
            if arguments is not None:
                yield arguments
            arguments = None
        elif arguments is not None:
            arguments.append(token)
        elif token == "aekit":
            arguments = []
    if arguments is not None:
        yield arguments


CALLS = [
    pytest.param(arguments, id=f"{page.stem}: {shlex.join(arguments)}")
    for page in PAGES
    for line in _command_lines(page.read_text())
    for arguments in _calls(line)
]


def test_there_are_pages_and_commands_to_check():
    assert len(PAGES) > 4
    assert len(CALLS) > 60


@pytest.mark.parametrize("arguments", CALLS)
def test_the_program_knows_every_command_option_and_value(arguments):
    group = _parser()
    name, *rest = arguments
    if name.startswith("-"):
        assert name in {text for option in group.params for text in option.opts} | {"--help"}
        return
    if name == "COMMAND":
        return
    assert name in group.commands
    if rest and "--help" not in rest:  # a name alone is a mention, not a command line
        # Parses the line as the program would, values included, and runs nothing; it rejects what it does not know.
        group.commands[name].make_context(f"aekit {name}", rest)


def test_the_check_finds_options_commands_and_values_that_do_not_exist():
    (arguments,) = _calls("aekit tsne x.safetensors --perplexety 50")
    with pytest.raises(Exception, match="No such option"):
        test_the_program_knows_every_command_option_and_value(arguments)
    with pytest.raises(Exception, match="not one of"):
        test_the_program_knows_every_command_option_and_value(["tsne", "x", "--method", "umap"])
    with pytest.raises(AssertionError):
        test_the_program_knows_every_command_option_and_value(["tnse", "x"])


def test_shell_is_read_as_a_shell_reads_it():
    line = "for b in 1 2; do aekit train-vae --beta $b; done | aekit interpolate - --from '#1,#3' # aekit nothing"
    assert list(_calls(line)) == [["train-vae", "--beta", "1"], ["interpolate", "-", "--from", "#1,#3"]]


def test_the_readmes_table_has_every_command_with_an_example():
    listed = dict(re.findall(r"^\| `([a-z-]+)` \|.*\| `(aekit [^`]+)`[^|]*\|$", README.read_text(), flags=re.MULTILINE))
    assert set(_parser().commands) == set(listed)
    for name, example in listed.items():
        assert example.split()[1] == name


def test_every_command_that_writes_files_is_in_the_page_on_outputs():
    text = (ROOT / "docs" / "outputs.md").read_text()
    for name in set(_parser().commands) - {"info", "data"}:
        assert f"`{name}`" in text, name


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = _HEADING.findall(_BLOCK.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_every_link_to_a_file_or_heading_leads_somewhere(page):
    for target, anchor in _LINK.findall(_BLOCK.sub("", page.read_text())):
        if "://" in target:
            continue
        path = (page.parent / target) if target else page
        assert path.exists(), target
        assert not anchor or anchor in _anchors(path), f"{target}#{anchor}"


def test_the_pictures_are_small():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README.read_text())
    assert len(pictures) == 2
    assert all((ROOT / picture).stat().st_size < 100_000 for picture in pictures)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_but_the_readme_is_linked_from_it(page):
    assert page == README or f"](docs/{page.name})" in README.read_text()


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_every_page_of_decisions_is_linked_from_contributing(page):
    assert f"](docs/decisions/{page.name})" in CONTRIBUTING.read_text()


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_names_modules_that_exist(page):
    for name in re.findall(r"`((?:core|images|brains|tests|results|plotting|aekit)/[\w/.]+\.py)`", page.read_text()):
        place = ROOT / name if name.startswith("tests/") else ROOT / "src" / "aekit" / name.removeprefix("aekit/")
        assert place.is_file(), name


def test_the_readme_and_contributing_stay_short():
    assert len(README.read_text().splitlines()) <= 165  # a line for each command
    assert len(CONTRIBUTING.read_text().splitlines()) <= 125


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_prose_is_wrapped_at_100_characters(page):
    prose = _BLOCK.sub("", page.read_text()).splitlines()
    assert not [line for line in prose if len(line) > 100 and not line.startswith(("|", "![", "#"))]


def _diffs() -> Iterator[tuple[str, bool, list[str]]]:
    """Yield the file, whether it is new, and the lines of each part of a diff in CONTRIBUTING, without its comments."""
    for language, body in _BLOCK.findall(CONTRIBUTING.read_text()):
        if language == "diff":
            for part in body.split("@@ ")[1:]:
                head, *lines = [line for line in part.splitlines() if line and not line.startswith("#")]
                yield head.removesuffix(" (new)"), head.endswith("(new)"), lines


@pytest.mark.parametrize(("name", "is_new", "lines"), [pytest.param(*diff, id=diff[0]) for diff in _diffs()])
def test_a_diff_in_contributing_fits_the_file_that_it_changes(name, is_new, lines):
    path = ROOT / name
    if is_new:
        assert not path.exists()
        assert all(line.startswith("+") for line in lines)
        return
    if not (ROOT / "src/aekit/images/evaluation").is_dir() and "images/evaluation" in name:
        pytest.xfail("until evaluation has a folder of its own")
    have = path.read_text().splitlines()
    places = [have.index(line[1:]) for line in lines if line[0] in " -"]
    assert places == sorted(places)
    assert not [line for line in lines if line[0] == "+" and line[1:] in have]
