"""The report: complete, self-contained, with names that stay text; in a browser where there is one."""

import base64
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from utils.images.palette import voc_palette
from utils.images.reading import read_image
from utils.scoring.comparison import compare
from utils.scoring.gallery import ERRORS, SIDE, choose_pictures, embed_photo, error_map, make_gallery
from utils.scoring.report import Report, latex, read_curves, write_report
from utils.scoring.results import Measures
from utils.scoring.scorer import Scorer
from utils.scoring.verdict import Finding
from utils.voc.demo import draw_sample

EVIL = "<script>alert(1)</script>"
NAMES = ["background", EVIL, "a & b_$x$ 细胞"]
LINKS = {"href", "src", "srcset", "action", "data", "poster", "formaction"}


def score(names=NAMES, pictures=4, spoil=0.1):
    rng = np.random.default_rng(0)
    scorer = Scorer(names, Measures(object_classes=(1,)))
    for index in range(pictures):
        mask = draw_sample(index, 48)[1]
        found = np.where(rng.random(mask.shape) < spoil, 0, mask).astype(np.uint8)
        scorer.update(f"picture {index}{EVIL}", mask, found)
    return scorer.results()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Folder of a report with everything that it may show."""
    folder = tmp_path_factory.mktemp("report")
    results = score()

    def read(name):
        image, mask = draw_sample(results.names.index(name), 48)
        return image, mask, mask[::-1].copy()

    gallery = make_gallery(results.names, results.per_picture(results.class_scores[0])[:, -1], read)
    findings = [Finding("one-class", f"all is {EVIL}", "evidence", "advice", f'train --voc-root "{EVIL}"')]
    curves = {"epoch": [1, 2], "train_loss": [1.0, 0.5], "val_loss": [1.0, np.nan], "miou": [0.2, 0.4]}
    differences = list(compare(results, score(spoil=0.4)))
    facts = {"model": f"runs/{EVIL}.pth", "data": "voc"}
    write_report(folder, results, Report(facts, findings, gallery, curves, differences))
    return folder


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.texts, self.titles = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name.split(":")[-1] in LINKS]
        self.titles += [value for name, value in attrs if name == "title"]

    def handle_data(self, data):
        self.texts.append(data)


def test_names_stay_text_and_nothing_is_loaded(page):
    text = (page / "report.html").read_text("utf-8")
    parsed = Page(text)
    assert "script" not in parsed.tags
    assert "".join(parsed.texts).count(EVIL) > 10
    assert all(link.startswith(("data:image/", "#")) for link in parsed.links)
    assert not re.search(r"url\((?!#)|@import", text)
    assert {"table", "svg", "img"} <= set(parsed.tags)


def test_counts_of_the_confusion_matrix_are_in_its_cells(page):
    titles = Page((page / "report.html").read_text("utf-8")).titles
    matrix = score().matrix
    assert len(titles) == 9
    assert titles[3] == f"{EVIL} → background: {matrix[1, 0]:,} pixels"


def test_the_page_of_two_classes_names_the_best_threshold_and_ignored_pixels(tmp_path):
    rng, scorer = np.random.default_rng(0), Scorer(["a", "b"], Measures())
    mask = rng.integers(0, 2, (24, 24), np.uint8)
    scorer.update("one", mask, mask, np.where(mask == 1, 500, 100).astype(np.uint16))
    write_report(tmp_path / "all", scorer.results(), Report({"model": "m"}))
    text = (tmp_path / "all" / "report.html").read_text("utf-8")
    assert "Only 1 picture: without 95 % intervals" in text
    assert "with 95 % intervals" not in text
    assert "Threshold of the probability of b: best" in text
    assert "Average precision 100.00." in text
    assert "#e0e0c0" not in text
    mask[:4] = 255
    scorer.update("two", mask, mask % 2, np.zeros(mask.shape, np.uint16))
    write_report(tmp_path / "part", scorer.results(), Report({"model": "m"}))
    assert '#e0e0c0"></i>ignored' in (tmp_path / "part" / "report.html").read_text("utf-8")


def test_figures_for_print(page):
    for name in ("iou", "pictures", "confusion_matrix", "loss", "miou"):
        with Image.open(page / f"{name}.png") as image:
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert "<svg" in (page / f"{name}.svg").read_text("utf-8")


def test_ids_of_the_plots_are_unique(page):
    found = re.findall(r' id="([^"]*)"', (page / "report.html").read_text("utf-8"))
    assert len(found) == len(set(found)) > 10


def test_latex_table(page):
    text = (page / "metrics.tex").read_text("utf-8")
    assert r"a \& b\_\$x\$ 细胞" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [line.count("&") - line.count(r"\&") for line in rows] == [5] * 6
    assert latex("50% {a}^~\\") == r"50\% \{a\}\textasciicircum{}\textasciitilde{}\textbackslash{}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(page, scheme, tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("needs Chromium")
    asked, faults = [], []
    with (
        sync_api.sync_playwright() as play,
        play.chromium.launch(executable_path=browser, args=["--no-sandbox"]) as chromium,
    ):
        tab = chromium.new_page(color_scheme=scheme, viewport={"width": 1000, "height": 800})
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("dialog", lambda dialog: faults.append(dialog.message))
        tab.on("console", lambda message: faults.append(message.text))
        tab.goto((page / "report.html").as_uri())
        assert tab.locator("h2").all_inner_texts()[:2] == ["Verdict", "Scores"]
        shown = tab.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        wide = tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        heights = tab.evaluate(
            "[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().height)"
        )
        ink = tab.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
        paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        tab.pdf(path=tmp_path / "report.pdf")
    assert shown
    assert wide
    assert min(heights) > 50
    assert (brightness(ink) > 200) == (brightness(paper) < 50) == (scheme == "dark")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert not faults
    assert [url for url in asked if not url.startswith("data:")] == [(page / "report.html").as_uri()]


def brightness(color):
    return np.mean([float(x) for x in re.findall(r"[\d.]+", color)[:3]])


def test_worst_median_and_best():
    scores = np.array([0.5, np.nan, 0.1, 0.2, 0.9, 0.8, 0.3, 0.4, 0.6, 0.7])
    chosen = choose_pictures(scores)
    assert {title: scores[indices].tolist() for title, indices in chosen.items()} == {
        "Worst": [0.1, 0.2, 0.3],
        "Median": [0.4, 0.5, 0.6],
        "Best": [0.9, 0.8, 0.7],
    }
    assert choose_pictures(np.array([0.5, np.nan, 0.1])) == {"All pictures, the worst first": [2, 0]}
    assert choose_pictures(np.array([np.nan])) == {}


def test_error_map_by_hand():
    truth, found = np.array([[1, 0, 1, 255, 1]], np.uint8), np.array([[0, 1, 2, 1, 1]], np.uint8)
    drawn = error_map(np.zeros((1, 5, 3), np.uint8), truth, found)[0]
    assert drawn[:4].tolist() == [list(color) for color in ERRORS.values()]
    assert drawn[4].tolist() == [64, 64, 64]


def test_embedded_pictures_are_small(tmp_path):
    uri = embed_photo(np.random.default_rng(0).integers(0, 255, (3000, 20, 3), np.uint8))
    (tmp_path / "a.jpg").write_bytes(base64.b64decode(uri.split(",")[1]))
    assert read_image(tmp_path / "a.jpg").shape == (SIDE, 3, 3)


def test_masks_of_the_gallery_have_the_colors_of_the_classes(tmp_path):
    mask = np.array([[0, 1], [2, 255]], np.uint8)
    (shown,) = make_gallery(["a"], np.array([0.5]), lambda _: (np.zeros((2, 2, 3), np.uint8), mask, mask))[
        "All pictures, the worst first"
    ]
    (tmp_path / "a.png").write_bytes(base64.b64decode(shown.images["truth"].split(",")[1]))
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), voc_palette()[mask])


def test_curves_of_a_run(tmp_path):
    path = tmp_path / "history.csv"
    assert read_curves(path) == {}
    path.write_text("epoch,lr,train_loss,val_loss,miou\n1,0.1,0.5,,\n2,0.1,0.4,0.3,0.6\n", encoding="utf-8")
    curves = read_curves(path)
    assert curves["epoch"] == [1, 2]
    assert np.array_equal(curves["miou"], [np.nan, 0.6], equal_nan=True)
