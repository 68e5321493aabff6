"""README.md and docs/ say what is there: every command, option and link in them exists, and they name every command."""

from __future__ import annotations

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
OPERATORS = set("|;&()<>")  # what shlex makes tokens of, of these characters alone
MAKE = {"$(AEKIT)": "aekit", "$@": "target", "$<": "source", "$*": "2"}

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(aekit [^`]+)`")
_LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


def _parser() -> typer.core.TyperGroup:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return group


def _command_lines(text: str) -> Iterator[str]:
    """Yield the lines of shell in a page: those of blocks, commands only, and what stands in the text."""
    for language, body in _BLOCK.findall(text):
        body = body.replace("\\\n", " ")
        for line in body.splitlines():
            if language == "console" and line.startswith("$ "):
                yield line.removeprefix("$ ")
            elif language in ("sh", "make"):
                yield line
    for line in _INLINE.findall(_BLOCK.sub("", text)):
        yield line.replace("\\|", "|")  # as a table's cell has it


def _calls(line: str) -> Iterator[list[str]]:
    """Yield the arguments of every aekit in a line of shell."""
    for variable, value in MAKE.items():
        line = line.replace(variable, value)
    line = re.sub(r"\$\w+", "1", line)  # of a loop over numbers
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


def test_there_are_pages_and_commands_to_look_at():
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
        # Reads the line as the program would, values included, and runs nothing; it complains of what it does not know.
        group.commands[name].make_context(f"aekit {name}", rest)


def test_the_check_finds_options_commands_and_values_that_are_not_there():
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


def test_every_command_has_a_line_in_the_page_on_outputs_or_leaves_nothing():
    text = (ROOT / "docs" / "outputs.md").read_text()
    for name in set(_parser().commands) - {"info", "data"}:
        assert f"`{name}`" in text, name


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    for target in _LINK.findall(page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_picture_is_small():
    (picture,) = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README.read_text())
    assert (ROOT / picture).stat().st_size < 200_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_but_the_readme_is_linked_from_it(page):
    assert page == README or f"](docs/{page.name})" in README.read_text()
