"""The exception for mistakes of the user, memory that runs out, the start and the end of every script."""

import pickle
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scripts import ROOT

from utils.core.console import REMEDIES, UserError, counted, memory_error, quoted, run_script


@dataclass
class Config:
    """Settings of a script."""

    text: str = "细胞"  # any text


def status(monkeypatch, main, **options):
    monkeypatch.setattr(sys, "argv", ["script.py"])
    with pytest.raises(SystemExit) as end:
        run_script(main, Config, "A script.", **options)
    return end.value.code


def raising(error):
    def main(_):
        raise error

    return main


def test_settings_reach_the_script(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["script.py"])
    run_script(lambda config: print(config.text), Config, "A script.")
    assert capsys.readouterr().out == "细胞\n"


def test_a_user_error_is_a_message_with_all_its_parts(monkeypatch, capsys):
    error = UserError("mask-size", "a.png", "8×8", "9×9", "draw it again")
    assert status(monkeypatch, raising(error)) == 2
    message = capsys.readouterr().err
    for part in ("a.png", "8×8", "9×9", "draw it again"):
        assert part in message
    assert "mask-size" not in message


def test_a_user_error_is_rebuilt_by_another_process():
    error = pickle.loads(pickle.dumps(UserError("mask-size", "图.png", "8×8", "9×9", "draw it again")))
    assert (error.code, error.subject, error.found) == ("mask-size", "图.png", "8×8")
    assert (error.expected, error.remedy) == ("9×9", "draw it again")


def test_an_interrupted_script_ends_with_130(monkeypatch, capsys):
    assert status(monkeypatch, raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "\ninterrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is another error there")
def test_a_script_whose_output_nobody_reads_ends_without_a_word():
    program = (
        "import dataclasses; from utils.core.console import run_script\n"
        "config = dataclasses.make_dataclass('Config', [('count', int, 3)])\n"
        "run_script(lambda config: print('a line\\n' * config.count), config, '')"
    )
    for count in "1", "100000":
        command = [sys.executable, "-c", program, "--count", count]
        script = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        script.stdout.close()
        assert (script.stderr.read(), script.wait()) == (b"", 141)
        script.stderr.close()


@pytest.mark.parametrize(
    "error", [RuntimeError("sizes must match"), ZeroDivisionError(), OSError("gone"), BrokenPipeError()]
)
def test_a_bug_stays_an_exception(monkeypatch, error):
    monkeypatch.setattr(sys, "argv", ["script.py"])
    with pytest.raises(type(error)):
        run_script(raising(error), Config, "A script.")
    assert memory_error(error) is None


def killed_worker():
    try:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that")
    except RuntimeError as cause:
        raise RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly") from cause


def full_card():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation")


def full_apple():
    raise RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)")


def full_cudnn():
    raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")


def no_words():
    raise MemoryError


@pytest.mark.parametrize(
    ("shortage", "code", "helps"),
    [
        (lambda: torch.empty(1 << 60, dtype=torch.uint8), "memory", "memory"),
        (lambda: np.empty(1 << 60, np.uint8), "memory", "memory"),
        (full_card, "memory", "gpu"),
        (full_apple, "memory", "gpu"),
        (full_cudnn, "memory", "gpu"),
        (no_words, "memory", "memory"),
        (killed_worker, "worker-killed", "worker-killed"),
    ],
)
def test_memory_that_runs_out_is_a_user_error(shortage, code, helps, monkeypatch, capsys):
    with pytest.raises((RuntimeError, MemoryError)) as error:
        shortage()
    known = memory_error(error.value)
    assert known.code == code
    assert known.found and "\n" not in known.found
    assert known.remedy == REMEDIES["memory"]
    remedies = {"memory": "less", "gpu": "use the CPU", "worker-killed": "one process"}
    assert status(monkeypatch, lambda _: shortage(), remedies=remedies) == 2
    assert f"to do:    {remedies[helps]}\n" in capsys.readouterr().err
    assert status(monkeypatch, lambda _: shortage(), remedies={"memory": "use --half"}) == 2
    assert "to do:    use --half\n" in capsys.readouterr().err


NAMES = ["plain/名_1-2.png", "two words", "cost$5 & more", "a`b", "it's", "why!", "50%", "(1)", "~", "#1"]
NAMES += ["back\\slash", "0:0,*:1", "^x|y"]


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize("name", [*NAMES, 'say "cheese"'])
def test_what_is_pasted_into_bash_arrives(name):
    command = ["bash", "-c", f"printf %s {quoted(name, windows=False)}"]
    assert subprocess.run(command, capture_output=True, check=True).stdout.decode() == name


@pytest.mark.parametrize("name", [*NAMES, "C:\\my data\\"])
def test_what_is_pasted_into_cmd_arrives(name):
    """By the rules of Windows: in double quotes, where a backslash means itself unless a quote follows."""
    typed = quoted(name, windows=True)
    assert typed in (name, f'"{name}"', f'"{name}\\"')
    assert typed != name or not set(name) & set(" &()|<>^%!'`,;=*~#")
    assert not re.search(r'[^\\](\\\\)*\\"$', typed)


def test_things_are_counted():
    assert [counted(number, "pair") for number in (0, 1, 2)] == ["0 pairs", "1 pair", "2 pairs"]
