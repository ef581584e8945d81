"""The documentation: both languages, links, pictures, and the flags that its commands name."""

import ast
import importlib
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from scripts import ROOT, SCRIPTS, flags_of_settings

from utils.importing.formats import FORMATS
from utils.labelme.painting import rasterise
from utils.labelme.reading import read_annotation
from utils.labelme.writing import least_iou
from utils.voc.demo import CLASS_NAMES, draw_sample

DOCS, CHINESE = ROOT / "docs", ROOT / "docs" / "zh-CN"
# Pages for few readers, which are not translated. The Chinese pages name them as English ones.
ENGLISH_ONLY = {"benchmarks.md", "log-of-trials.md", "reliability.md", "scaling.md"}
PAGES = sorted([ROOT / "README.md", ROOT / "README.zh-CN.md", *DOCS.rglob("*.md")])
PAIRS = [(ROOT / "README.md", ROOT / "README.zh-CN.md")]
PAIRS += [(path, CHINESE / path.name) for path in DOCS.glob("*.md") if path.name not in ENGLISH_ONLY]
OTHERS = [ROOT / folder / "README.md" for folder in ("benchmarks", "model_data", "VOCdevkit")]
PICTURE_BYTES = 150_000
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z_-]*")
# Flags of other programs.
FOREIGN = {
    "--labels",
    "--shm-size",
    "--logdir",
    "--standalone",
    "--nnodes",
    "--nproc_per_node",
    "--rdzv-backend",
}
FOREIGN |= {"--rdzv-endpoint", "--node_rank", "--max-restarts", "--help", "--write"}


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def prose(path):
    """The text without its blocks of code."""
    return FENCE.sub("", path.read_text("utf-8"))


def headings(path):
    """(level, text) of each heading."""
    return [(len(mark), text.strip()) for mark, text in re.findall(r"^(#+) (.+)$", prose(path), re.M)]


@cache
def anchors(path):
    """The anchors that GitHub makes of the headings of a page."""
    seen, found = Counter(), set()
    for _, text in headings(path):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def links(path):
    """The targets of all links and pictures of a page that lie in this repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(path)) + re.findall(r'src="([^"]+)"', prose(path))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def commands(path):
    """The commands in the blocks of code, continued lines joined."""
    text = path.read_text("utf-8")
    blocks = [block for language, block in FENCE.findall(text) if language in ("bash", "shell", "powershell")]
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


@cache
def flags_of(script):
    """The flags of a script; those of a benchmark are read off its source."""
    if script in SCRIPTS:
        found = set(flags_of_settings(importlib.import_module(Path(script).stem).Config))
    else:
        tree = ast.parse((ROOT / script).read_text("utf-8"))
        (settings,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Config")
        fields = [node.target.id for node in settings.body if isinstance(node, ast.AnnAssign)]
        found = {f"--{field.replace('_', '-')}" for field in fields}
    return found | {flag.replace("--", "--no-", 1) for flag in found} | {"--help"}


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: name_of(pair[0]))
def test_every_page_has_a_chinese_one_of_as_many_headings(pair):
    english, chinese = pair
    assert chinese.is_file(), f"{name_of(chinese)} is missing"
    levels = [[level for level, _ in headings(path)] for path in pair]
    assert levels[0] == levels[1]
    assert commands_alike(english) == commands_alike(chinese)


def commands_alike(path):
    """The commands of a page without their remarks, which are translated."""
    return [line.split("  #")[0].rstrip() for line in commands(path)]


def test_no_chinese_page_without_an_english_one():
    assert {path.name for path in CHINESE.glob("*.md")} <= {
        path.name for path in DOCS.glob("*.md")
    } - ENGLISH_ONLY


@pytest.mark.parametrize("path", [*PAGES, *OTHERS], ids=name_of)
def test_links_and_anchors_lead_somewhere(path):
    for target in links(path):
        file, _, anchor = target.partition("#")
        place = (path.parent / file).resolve() if file else path
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), f"{target} is none of {sorted(anchors(place))}"


def test_pictures_are_small_and_used():
    used = {(path.parent / target).resolve() for path in PAGES for target in links(path)}
    for picture in filter(Path.is_file, (DOCS / "pictures").rglob("*")):
        assert picture.stat().st_size <= PICTURE_BYTES, picture.name
        assert picture.resolve() in used, f"no page shows {picture.name}"


@pytest.mark.parametrize("path", [*PAGES, *OTHERS], ids=name_of)
def test_flags_of_commands_exist(path):
    for command in commands(path):
        for part in re.split(r"&&|;|\|", command.split("  #")[0]):
            script = re.search(r"(?:benchmarks/|docs/)?\w+\.py\b", part)
            if script and (ROOT / script[0]).is_file() and script[0] not in ("tests/soak.py",):
                arguments = part[script.end() :]
                assert set(FLAG.findall(arguments)) <= flags_of(script[0]), command
    everywhere = set().union(*map(flags_of, SCRIPTS), FOREIGN, flags_of_networks())
    everywhere |= {flag for path in (ROOT / "benchmarks").glob("*.py") for flag in flags_in_source(path)}
    named = [code for code in re.findall(r"`([^`\n]+)`", prose(path)) if code.startswith(("--", "python "))]
    for code in named:
        assert set(FLAG.findall(code)) <= everywhere, code


def flags_of_networks():
    """Flags of `python -m nets.unet`."""
    return {f"--{name}" for name in ("backbone", "input-shape", "batch-size")}


def flags_in_source(path):
    text = path.read_text("utf-8")
    return {f"--{name.replace('_', '-')}" for name in re.findall(r"^    (\w+): ", text, re.M)}


@pytest.mark.parametrize("path", PAIRS[0], ids=name_of)
def test_the_first_page_is_short(path):
    assert len(path.read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize("folder", [DOCS, CHINESE], ids=["english", "chinese"])
def test_the_comparison_counts_the_formats_that_are_read(folder):
    found = re.search(r"(\d+) (?:formats in|种格式)", (folder / "comparison.md").read_text("utf-8"))
    assert int(found[1]) == len(FORMATS)


def test_the_pictures_of_the_tutorial_have_their_annotations(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    tutorial = importlib.import_module("tutorial_pictures")
    assert sum(len(numbers) for _, numbers, _ in tutorial.FOLDERS) == 30
    slip = tutorial.SLIP
    monkeypatch.setattr(
        tutorial, "FOLDERS", (("annotated", range(slip, slip + 1), True), ("more", range(9, 10), False))
    )
    tutorial.main(tutorial.Config(output=tmp_path))
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    drawn = {f"annotated/cells_{slip}.png", f"annotated/cells_{slip}.json"}
    assert names == drawn | {"more/cells_9.png", "more_truth/cells_9.json"}
    shapes = read_annotation(tmp_path / "annotated" / f"cells_{slip}.json").shapes
    index = {name.title(): number for number, name in enumerate(CLASS_NAMES)} | {"_background_": 0}
    mask = draw_sample(slip)[1]
    assert least_iou(mask, rasterise(shapes, mask.shape, index)) >= 0.99
