"""Every command's --help is complete: what it reads, writes and prints, an example to copy, and every option."""

from __future__ import annotations

import re
import shlex

import pytest
import typer

from aekit.cli import app
from aekit.terminal.help_page import help_text

COMMANDS = typer.main.get_command(app).commands
PANELS = {"Data", "Model", "Objective", "Training", "Output and machine", "Analysis", "Grid", "Comparison"}
PANELS |= {"Cohort", "Page"}
by_command = pytest.mark.parametrize("name", COMMANDS)


@pytest.fixture
def page(aekit, monkeypatch):
    """Return a function that returns the lines of a command's help on a terminal of so many columns."""

    def show(*command: str, columns: int = 80) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        result = aekit(*command, "--help")
        assert result.exit_code == 0
        assert result.stderr == ""
        return result.stdout.splitlines()

    return show


def _options(name: str) -> list:
    return [param for param in COMMANDS[name].params if param.param_type_name == "option"]


def _examples(lines: list[str]) -> list[str]:
    """Return the commands below ``Example:``, their lines joined as a shell would."""
    text = "\n".join(line.strip() for line in lines[lines.index(" Example:".ljust(len(lines[0]))) + 1 :])
    return text.split("\n\n")[0].replace("\\\n", "").splitlines()


@by_command
def test_a_page_says_what_is_read_written_and_printed(name, page):
    text = "\n".join(page(name))
    for word in ("Writes", "Prints") if name == "mri-phantom" else ("Reads", "Writes", "Prints"):
        assert re.search(rf"\b{word}\b", text), f"{name} --help does not say what it {word.lower()}"


@by_command
def test_an_example_can_be_copied_from_a_narrow_terminal(name, page):
    examples = _examples(page(name))
    assert examples
    for example in examples:
        commands = [words for words in " ".join(shlex.split(example)).split(" | ") if words]
        assert any(command.split()[:2] == ["aekit", name] for command in commands), example
        assert example in " ".join((COMMANDS[name].callback.__doc__ or "").split()).replace(" - o", " -o")


@by_command
def test_every_option_has_a_help_text_and_a_panel(name, page):
    for option in _options(name):
        assert option.help, f"{name} {option.opts[0]}"
        assert option.rich_help_panel in PANELS, f"{name} {option.opts[0]}"
    titles = {match[1] for line in page(name) if (match := re.match(r"╭─ (.*?) ─", line))}
    assert titles <= {"Arguments", *PANELS}


@by_command
def test_every_option_with_a_value_shows_its_default(name, page):
    text = "\n".join(page(name, columns=400))
    for option in _options(name):
        flag = next(opt for opt in option.opts if opt.startswith("--") or len(option.opts) == 1)
        (row,) = re.findall(rf"^│[* ]+{flag}(?![\w-]).*(?:\n│ {{20,}}.*)*", text, flags=re.MULTILINE)
        if not option.is_flag:
            assert ("[required]" in row) if option.required else ("[default: " in row), row
        elif option.secondary_opts:
            assert "[default: " in row, row
        else:
            assert "flag" in row, row


@pytest.mark.parametrize("columns", [80, 120])
@by_command
def test_nothing_is_clipped_or_split(name, columns, page):
    lines = page(name, columns=columns)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= columns
    assert "…" not in text
    for python in ("<int", "<float", "<bool", "<path", "<str", "<list"):
        assert python not in text
    for option in _options(name):
        flag = next(opt for opt in option.opts if opt.startswith("--") or len(option.opts) == 1)
        assert re.search(rf"{flag}\b.* {re.escape(option.metavar)}( |\n)", text), f"{name} {flag} {option.metavar}"


def test_the_page_of_all_commands_says_exit_codes_and_environment(page):
    text = " ".join(" ".join(page()).split())
    for word in (
        "AEKIT_DATA",
        "AEKIT_CACHE",
        "NO_COLOR",
        "0 success",
        "1 an error you can fix",
        "130 Ctrl-C",
        "143 SIGTERM",
    ):
        assert word in text
    assert "<bool>" not in text


def test_a_long_example_is_broken_where_a_shell_goes_on():
    example = "aekit sweep --model ae --latent 2-20 --epochs 10 --val 0.2 --data digits"
    example += " | aekit pca-compare - -o out/pca.png"
    text = help_text(f"One.\n\nTwo\nthree.\n\nExample: {example}")
    head, shown = text.split("Example:\n")
    assert head == "One.\n\nTwo three.\n\n"
    assert max(map(len, shown.splitlines())) <= 78
    assert shlex.split(shown.replace("\\\n", "")) == shlex.split(example)


@pytest.mark.parametrize("columns", [60, 80, 100])
@by_command
def test_nothing_is_clipped_and_no_help_is_squeezed(name, columns, page):
    lines = page(name, columns=columns)
    text = "\n".join(lines)
    assert "…" not in text
    for option in _options(name):
        line = next(line for line in lines if re.search(rf" {option.opts[0]}[ ,]", line))
        words = re.split(r"  +", line.strip("│ "))[-1]
        assert len(line) - line.index(words) > columns // 4, line


def test_an_option_that_can_be_turned_off_says_how(page, aekit):
    text = " ".join(" ".join(line.strip("│ ") for line in page("decorrelation")).split())
    assert "--no-pca turns it off. [default: (on)]" in text
    assert "No such option" not in aekit("decorrelation", "--no-pca", "missing.safetensors").stderr
