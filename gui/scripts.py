"""The scripts of this repository as processes: their commands, what they print, and why they failed."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PyQt5.QtCore import QObject, QProcess, QProcessEnvironment, pyqtSignal

from utils.core.console import UserError, quoted

ROOT = Path(__file__).parents[1]
# Output that arrives as it is printed, in UTF-8 on Windows too.
ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
ERROR = re.compile(
    r"^error: (?P<subject>.*?)\n  found:    (?P<found>.*?)\n  expected: (?P<expected>.*?)"
    r"\n  to do:    (?P<remedy>.*)",
    re.MULTILINE | re.DOTALL,
)
# A message in a frame, which breaks its lines.
REFUSED = re.compile(r"│ (?:Unrecognized|Invalid|Required|Missing|Error|invalid).*(?:\n│ [^\s─].*)*")
# Remedies that a click may start: these scripts keep a copy of what they replace.
OFFERED = re.compile(r"python ((?:voc2unet|json_to_dataset)\.py)((?:(?!   ).)*)(?:   \((.*?)\)(?=$|\n|;|,))?")


class ScriptError(UserError):
    """A script ended before its work was done. output: all that it printed."""

    def __init__(self, code: str, subject: str, found: str, expected: str, remedy: str, output: str):
        super().__init__(code, subject, found, expected, remedy)
        self.args = code, subject, found, expected, remedy, output
        self.output = output

    def with_remedy(self, remedy: str) -> "ScriptError":
        return ScriptError(self.code, self.subject, self.found, self.expected, remedy, self.output)

    def __str__(self) -> str:
        return f"{super().__str__()}\n\n{self.output}".rstrip()


def script_command(script: str, arguments: Sequence[object]) -> list[str]:
    return [sys.executable, str(ROOT / script), *map(str, arguments)]


def shown_command(script: str, arguments: Sequence[object]) -> str:
    """The command as it is typed into a terminal."""
    return " ".join(["python", script, *map(quoted, arguments)])


def read_failure(script: str, output: str) -> ScriptError | None:
    """What the output says of a failure; None if it says nothing."""
    if found := ERROR.search(output):
        parts = {name: text.strip() for name, text in found.groupdict().items()}
        return ScriptError("script-refused", **parts, output=output)
    if refused := REFUSED.search(output):
        found = " ".join(line.strip("│ ") for line in refused[0].splitlines())
        expected, remedy = f"flags of {script}", "correct the further flags"
        return ScriptError("flags-refused", script, found, expected, remedy, output)
    if "Traceback (most recent call last)" in output:
        last = next(line for line in reversed(output.splitlines()) if line.strip())
        expected, remedy = "a script that ends well", "copy the details into a report of this mistake"
        return ScriptError("script-bug", script, last, expected, remedy, output)
    return None


def unexplained(script: str, how: str, output: str) -> ScriptError:
    """A process that was gone without a word."""
    expected = "a message before the end"
    remedy = "if memory ran out, close other programs or take smaller batches, then go on where it ended"
    return ScriptError("script-ended", script, how, expected, remedy, output)


@dataclass(frozen=True)
class Offer:
    """A command that a remedy proposes. meaning: what the remedy says of it."""

    script: str
    arguments: tuple[str, ...]
    meaning: str = ""


def find_offers(remedy: str, windows: bool = os.name == "nt") -> list[Offer]:
    """The commands in a remedy that can be run as they are.

    Without those that need another file first, or a name of one's own.
    """
    offers = []
    for found in OFFERED.finditer(remedy):
        arguments = []
        for word in split_words(found[2], windows):
            if word.startswith("(") or word in ("or", "has", "and"):
                break
            arguments.append(word.rstrip(";,"))
            if word.endswith((";", ",")):
                break
        needed = {"--voc-root"} | ({"--input"} if found[1] == "json_to_dataset.py" else set())
        unfinished = {"…", "NEW"} & set(arguments) or re.match(r"\s+after ", remedy[found.end() :])
        if needed <= set(arguments) and not unfinished:
            offers.append(Offer(found[1], tuple(arguments), found[3] or ""))
    return offers


def split_words(text: str, windows: bool = os.name == "nt") -> list[str]:
    """Words of a command as `quoted` wrote them, for bash or for Windows' cmd."""
    if windows:
        return [quoted_word or word for quoted_word, word in re.findall(r'"([^"]*)"|(\S+)', text)]
    try:
        return shlex.split(text)
    except ValueError as error:
        expected, remedy = "words as in a terminal", "close the quotation marks"
        raise UserError("words-unclear", text.strip(), str(error), expected, remedy) from None


class Script(QObject):
    """One script at a time, which ends with the window. What it prints arrives as lines."""

    printed = pyqtSignal(str)
    ended = pyqtSignal(object)  # None, or the ScriptError; not after `cancel`

    def __init__(self, parent: QObject | None = None):
        super().__init__(parent)
        self.process: QProcess | None = None
        self.name, self.output = "", ""

    def is_running(self) -> bool:
        return self.process is not None

    def start(self, script: str, arguments: Sequence[object]) -> None:
        self.name, self.output = script, ""
        process = self.process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        for name, value in ENVIRONMENT.items():
            environment.insert(name, value)
        process.setProcessEnvironment(environment)
        process.setProcessChannelMode(QProcess.MergedChannels)
        process.readyRead.connect(self._read)
        process.finished.connect(self._end)
        program, *rest = script_command(script, arguments)
        process.start(program, rest)

    def cancel(self) -> None:
        """End it at once. What it writes is whole or not there."""
        process, self.process = self.process, None
        if process:
            process.readyRead.disconnect()
            process.finished.disconnect()
            process.finished.connect(process.deleteLater)
            process.kill()

    def _read(self) -> None:
        text = bytes(self.process.readAll()).decode("utf-8", "replace").replace("\r\n", "\n")
        self.output += text
        self.printed.emit(text)

    def _end(self, status: int) -> None:
        self._read()
        process, self.process = self.process, None
        crashed = process.exitStatus() == QProcess.CrashExit
        process.deleteLater()
        failed = status or crashed
        how = "the process was ended" if crashed else f"exit status {status}"
        error = read_failure(self.name, self.output) or unexplained(self.name, how, self.output)
        self.ended.emit(error if failed else None)


def request_end(pid: int) -> None:
    """Ask a process to finish its step, save and end; asked again, it ends at once.

    On Windows a Ctrl-Break reaches only processes of one's own console, so a helper enters that of the
    process first. Elsewhere it is SIGTERM: SIGINT is ignored by what a shell started in the background.
    """
    if os.name != "nt":
        import signal

        os.kill(pid, signal.SIGTERM)
        return
    program = (
        "import ctypes; kernel = ctypes.windll.kernel32; kernel.FreeConsole(); "
        f"kernel.AttachConsole({pid}); kernel.GenerateConsoleCtrlEvent(1, {pid})"
    )
    subprocess.Popen([sys.executable, "-c", program], creationflags=subprocess.CREATE_NO_WINDOW)
