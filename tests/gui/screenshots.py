"""Pictures of the window for docs/window.md: python -m tests.gui.screenshots

--output docs/pictures/ui
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import tyro
from PIL import Image
from PyQt5.QtCore import QPointF
from PyQt5.QtTest import QTest

sys.path.insert(0, str(Path(__file__).parent))

from windows import open_window, settle, wait

from gui.application import make_application
from gui.engine import Engine
from gui.main_window import MainWindow
from gui.tiles import to_array

SIZE = 1180, 760


@dataclass
class Config:
    output: Path = Path("docs/pictures/ui")  # folder of the pictures
    model_path: Path = Path("model_data/unet_demo.pth")
    input: Path = Path("img/cells_a.png")
    large: Path | None = None  # a large TIFF, to show how it appears


def main(config: Config) -> None:
    application = make_application()
    config.output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        window = open_window(Path(folder), config.model_path.absolute(), Engine)
        window.controller.idle.setInterval(1 << 30)
        window.resize(*SIZE)
        QTest.qWait(300)

        def save(name: str) -> None:
            QTest.qWait(300)
            settle(window)
            shoot(window, config.output / f"{name}.png")

        shoot(window, config.output / "start.png")
        window.set_language("en")
        window.set_look("light")
        window.opening.open_paths([config.input.absolute()])
        wait(lambda: window.controller.document and window.controller.document.segmentation, 300)
        save("overlay")
        take_views(window, save)
        take_choices(window, save)
        take_errors(window, save, Path(folder))
        if config.large:
            take_large(window, save, config)
        window.close()
    application.quit()


def take_views(window: MainWindow, save) -> None:
    for mode in ("side", "compare", "mask"):
        window.set_mode(mode)
        save(mode)
    window.set_mode("overlay")
    window.viewer.zoom(9, QPointF(window.viewer.width() * 0.6, window.viewer.height() * 0.4))
    save("zoomed")
    window.viewer.fit()
    window.table.selectRow(0)
    save("object")
    window.set_mode("side")
    window.set_language("zh")
    window.set_look("dark")
    save("dark_chinese")
    window.set_language("en")
    window.set_look("light")
    window.set_mode("overlay")


def take_choices(window: MainWindow, save) -> None:
    window.choices_box.split.setChecked(True)
    window.choices_box.least.setValue(300)
    settle(window)
    save("split")
    window.choices_box.split.setChecked(False)
    window.choices_box.least.setValue(0)


def take_errors(window: MainWindow, save, folder: Path) -> None:
    broken = folder / "holiday.pth"
    broken.write_bytes(b"no model at all")
    window.opening.open_paths([broken])
    wait(lambda: window.banner.isVisible())
    window.banner.more.setChecked(True)
    save("error")
    window.banner.hide()


def take_large(window: MainWindow, save, config: Config) -> None:
    window.opening.open_paths([config.large.absolute()])
    wait(lambda: window.controller.document.path == config.large.absolute(), 300)
    wait(lambda: window.controller.document.predictions.get(False), 600)
    wait(lambda: window.controller.document.predictions[False].share > 0.02, 1200)
    window.viewer.zoom_to(1 / 12, QPointF(0, 0))
    window.viewer.move_by(-2000, -2000)
    window.viewer.move_by(300, 250)
    QTest.qWait(8000)
    shoot(window, config.output / "large.png", 24)


def shoot(window: MainWindow, path: Path, colors: int = 128) -> None:
    """Save what the window shows, in few colors, which are enough for it."""
    picture = Image.fromarray(to_array(window.grab().toImage()))
    picture.quantize(colors).save(path, optimize=True)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
