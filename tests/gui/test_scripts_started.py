"""What the output of a script means, and which of its remedies a click may start."""

import re
import shlex

import pytest
import tyro
from catalogue_runs import MESSAGES
from scripts import refused
from windows import wait

import json_to_dataset
import voc2unet
from gui.scripts import Offer, Script, find_offers, read_failure, split_words
from utils.core.console import UserError, quoted

CONFIGS = {"voc2unet.py": voc2unet.Config, "json_to_dataset.py": json_to_dataset.Config}
REMEDIES = re.findall(r"  to do:    (.*?)(?=\n\n|\n=== |\Z)", MESSAGES.read_text("utf-8"), re.DOTALL)


def test_a_message_is_read_back():
    error = UserError("mask-size", "a b/ä.png", "64×64", "48×48", "python voc2unet.py --resize\nor cut it")
    found = read_failure("voc2unet.py", f"split written\nwarning: x\n\nerror: {error}\n")
    assert (found.subject, found.found, found.expected) == (error.subject, error.found, error.expected)
    assert found.remedy == error.remedy
    assert "split written" in str(found)


def test_bugs_and_refused_flags_are_failures_and_a_good_end_is_none():
    bug = "Traceback (most recent call last):\n  File x\nValueError: no number\n"
    assert read_failure("train.py", bug).found == "ValueError: no number"
    flags = "╭─ Parsing error ────╮\n│ Unrecognized options: --no-such │\n╰───╯\n"
    assert read_failure("train.py", flags).code == "flags-refused"
    lines = (
        "╭─ Value ─╮",
        "│ Error parsing --lr: no number in  │",
        "│ ['abc'].   │",
        "│    │",
        "│ Got │",
        "╰──╯",
    )
    broken = "\n".join(["$ python train.py", *lines])
    assert read_failure("train.py", broken).found == "Error parsing --lr: no number in ['abc']."
    assert read_failure("train.py", "epoch 1\nbest mIoU 50.00%\n") is None


@pytest.mark.parametrize("script", CONFIGS)
def test_offers_of_all_messages_can_be_run(script):
    """The arguments are those of the script, and nothing of the sentence around them."""
    offers = [offer for remedy in REMEDIES for offer in find_offers(remedy) if offer.script == script]
    assert len({offer.arguments for offer in offers}) > 1
    for offer in offers:
        config = tyro.cli(CONFIGS[script], args=list(offer.arguments))
        assert str(config.voc_root) == "ROOT"


def test_two_ways_are_two_offers_with_their_meaning():
    start = "python voc2unet.py --voc-root 'a b' --map"
    first, second = find_offers(f"{start} 0:0,255:1   (white counts)\n    {start} 0:1,255:0   (black counts)")
    assert first == Offer("voc2unet.py", ("--voc-root", "a b", "--map", "0:0,255:1"), "white counts")
    assert second.meaning == "black counts"


@pytest.mark.parametrize(
    "remedy",
    [
        "put them there, or convert labelme files: python json_to_dataset.py --voc-root ROOT",
        "python voc2unet.py --voc-root ROOT --colors colors.txt   after writing colors.txt, one line R G B",
        "import them: python import_dataset.py --input …",
        "rename or remove it",
    ],
)
def test_what_needs_more_than_a_click_is_not_offered(remedy):
    assert find_offers(remedy) == []


@pytest.mark.parametrize("text", ["C:\\Daten\\neue Bilder", "C:\\a\\", "plain", "ä.png"])
def test_words_of_windows_are_split(text):
    command = f"--voc-root {quoted(text, windows=True)} --fix"
    words = split_words(command, windows=True)
    assert [word.rstrip("\\") for word in words] == ["--voc-root", text.rstrip("\\"), "--fix"]


def test_words_are_split_as_a_shell_does():
    arguments = ["--voc-root", "a b/$c", "--map", "0:0"]
    assert split_words(shlex.join(arguments), windows=False) == arguments
    with refused("words-unclear"):
        split_words("--name 'open", windows=False)


def test_a_cancelled_script_ends_without_a_word(tmp_path, application):
    script, ends = Script(), []
    script.ended.connect(ends.append)
    script.start("voc2unet.py", ["--voc-root", tmp_path])
    process = script.process
    process.waitForStarted()
    gone = []
    process.destroyed.connect(lambda: gone.append(True))
    script.cancel()
    wait(lambda: gone)
    assert not ends
    assert not script.is_running()
