"""SIGINT and SIGTERM: the first asks to stop, the second ends the program."""

from __future__ import annotations

import os
import signal

import pytest

from aekit.terminal.signals import stop_on_signals, terminate


@pytest.mark.parametrize(("number", "ends_with"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_the_first_signal_is_noted_and_the_second_ends_the_program(number, ends_with, capsys):
    with stop_on_signals() as stop_signal:
        assert stop_signal() is None
        os.kill(os.getpid(), number)
        assert stop_signal() == number
        with pytest.raises(ends_with):
            os.kill(os.getpid(), number)
    assert "saving the state" in capsys.readouterr().err


def test_the_handlers_of_before_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stop_on_signals():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_terminate_ends_with_the_exit_code_that_a_shell_expects():
    with pytest.raises(SystemExit) as ended:
        terminate(signal.SIGTERM, None)
    assert ended.value.code == 143
