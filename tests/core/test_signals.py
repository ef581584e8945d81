"""Signals that end a script."""

import os
import signal
import sys

import pytest

from utils.core.signals import signals_end


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process at once")
@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_a_script_as_an_exception_does_and_says_so(capsys, name, status):
    cleaned, number = [], getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as ended, signals_end():
            try:
                os.kill(os.getpid(), number)
                signal.pause()
            finally:
                cleaned.append(True)
    finally:
        signal.signal(number, before)
    assert ended.value.code == status
    assert cleaned
    assert name in capsys.readouterr().err
