"""Longest time in milliseconds for which the window did not answer, in each of its works.

python benchmarks/window.py --output logs/window.md

A timer of the window ticks every 5 ms; the longest time between two ticks counts. A process that only sleeps
beside it does the same and shows what is due to the machine, and the computing time of the window's thread
between two ticks does not depend on other programs.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))
from PyQt5.QtCore import QSettings, QTimer
from PyQt5.QtTest import QTest

from gui.application import make_application
from gui.main_window import MainWindow
from utils.core.console import run_script

TICK = 0.005  # seconds


@dataclass
class Config:
    """Settings of the benchmark."""

    output: Path | None = None  # Markdown file to write; None: print only
    model_path: Path = Path("model_data/unet_demo.pth")
    side: int = 2000  # pixels of the picture that is predicted
    count: int = 20  # pictures of the folder
    large: Path | None = None  # a large tiled TIFF, such as 20,000×20,000; None: leave it out
    large_seconds: float = 120.0  # how long its prediction is watched
    quick: bool = False  # a small picture: does it run?


class Watch:
    """The longest time between two ticks since the last look, here and in a process that only sleeps."""

    def __init__(self) -> None:
        self.last, self.longest = time.perf_counter(), 0.0
        self.last_busy, self.busiest = time.thread_time(), 0.0
        self.timer = QTimer()
        self.timer.timeout.connect(self._tick)
        self.timer.start(round(TICK * 1000))
        context = multiprocessing.get_context("spawn")
        self.other = context.Value("d", 0.0)
        self.process = context.Process(target=sleep, args=(self.other,), daemon=True)
        self.process.start()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.longest, self.last = max(self.longest, now - self.last), now
        busy = time.thread_time()
        self.busiest, self.last_busy = max(self.busiest, busy - self.last_busy), busy

    def look(self) -> list[float]:
        """Longest time, most computing time between two ticks, and longest time of the other process.

        In milliseconds; counts anew from now.
        """
        QTest.qWait(20)
        found = self.longest, self.busiest, self.other.value
        self.longest = self.busiest = self.other.value = 0.0
        return [1000 * seconds for seconds in found]


def sleep(longest) -> None:
    last = time.perf_counter()
    while True:
        time.sleep(TICK)
        now = time.perf_counter()
        longest.value, last = max(longest.value, now - last), now


def main(config: Config) -> None:
    side, count = (128, 2) if config.quick else (config.side, config.count)
    rows = []
    with TemporaryDirectory() as folder:
        pictures = [Path(folder) / "pictures" / f"cells_{number:02d}.png" for number in range(count)]
        # In another process, because the window loads its modules while it is shown.
        drawing = multiprocessing.get_context("spawn").Process(target=draw_pictures, args=(pictures, side))
        drawing.start()
        drawing.join()
        application, watch = make_application(), Watch()
        wait(lambda: watch.other.value > 0)
        watch.look()
        settings = QSettings(str(Path(folder) / "window.ini"), QSettings.IniFormat)
        settings.setValue("model", str(config.model_path.absolute()))
        start = time.perf_counter()
        window = MainWindow(settings)
        window.show()
        QTest.qWait(1)
        shown = time.perf_counter() - start
        watch.look()

        def measure(name: str, begin: Callable[[], object], is_done: Callable[[], object]) -> None:
            watch.look()
            start = time.perf_counter()
            begin()
            wait(is_done)
            seconds = time.perf_counter() - start
            rows.append([name, f"{seconds:.1f}", *(f"{value:.0f}" for value in watch.look())])

        measure_all(window, config, pictures, Path(folder), measure)
        window.close()
    print(f"window shown after {shown:.2f} s")
    # PyTorch comes with the report, which the process of the window does not load.
    writing = multiprocessing.get_context("spawn").Process(target=write_report, args=(rows, config.output))
    writing.start()
    writing.join()
    application.quit()
    # What still computes is not waited for.
    os._exit(0)


def measure_all(
    window: MainWindow, config: Config, pictures: list[Path], folder: Path, measure: Callable[..., None]
) -> None:
    controller = window.controller
    measure("load the model", lambda: None, lambda: controller.model and controller.model.card)

    def is_measured() -> bool:
        document = controller.document
        return bool(document and document.objects)

    def is_idle() -> bool:
        return not window.jobs.running

    title = f"open, predict and measure {config.side}×{config.side}"
    measure(title, lambda: window.opening.open_paths(pictures[:1]), lambda: is_measured() and is_idle())
    measure("split objects", lambda: window.choices_box.split.setChecked(True), is_idle)
    measure("zoom and move", lambda: zoom_and_move(window), is_idle)
    output, wanted = folder / "out", {"objects": True, "labelme": True}
    measure(
        f"a folder of {len(pictures)} pictures",
        lambda: window.batch.predict_folder(pictures[0].parent, output, wanted),
        lambda: not window.batch.runs,
    )
    if config.large:
        end = time.monotonic() + config.large_seconds
        name = f"{config.large_seconds:.0f} s of a large picture"
        measure(name, lambda: window.opening.open_paths([config.large]), lambda: time.monotonic() > end)


def zoom_and_move(window: MainWindow) -> None:
    for step in range(60):
        window.viewer.zoom(1 if step % 20 < 10 else -1)
        window.viewer.move_by(40, 25)
        QTest.qWait(30)


def write_report(rows: Sequence[Sequence[str]], output: Path | None) -> None:
    import torch
    from measuring import describe_machine, markdown, report

    header = ["work", "seconds", "window, ms", "of this computing, ms", "sleeping process, ms"]
    text = f"{describe_machine(torch.device('cpu'))}\n\n{markdown(header, rows)}"
    report("Longest time for which the window did not answer", text, output)


def draw_pictures(paths: Sequence[Path], side: int) -> None:
    """One of the side, and smaller ones."""
    from utils.images.writing import write_image
    from utils.voc.demo import draw_sample

    for number, path in enumerate(paths):
        write_image(path, draw_sample(number, min(side, 500) if number else side)[0])


def wait(condition: Callable[[], object]) -> None:
    while not condition():
        QTest.qWait(10)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
