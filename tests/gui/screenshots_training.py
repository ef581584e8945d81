"""Pictures of the training in the window for docs/window.md: python -m tests.gui.screenshots_training

--output docs/pictures/ui
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import tyro
from PIL import Image
from PyQt5.QtTest import QTest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from screenshots import SIZE, shoot
from scripts import recode
from windows import open_window, settle, wait

from gui.application import make_application
from gui.engine import Engine
from gui.main_window import MainWindow
from utils.voc.demo import make_demo
from utils.voc.folder import VocFolder

MOST_BYTES = 150_000


@dataclass
class Config:
    output: Path = Path("docs/pictures/ui")  # folder of the pictures
    epochs: int = 24  # of the training that is shown


def main(config: Config) -> None:
    application = make_application()
    output = config.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        window = open_window(Path(folder), None, Engine)
        window.resize(*SIZE)
        window.tabs.setCurrentWidget(window.training)
        window.set_language("en")
        window.set_look("light")
        window.training.model.save_dir = Path(folder) / "logs"

        def save(name: str, tab: str | None = None) -> None:
            if tab:
                window.training.show_tab(tab)
            QTest.qWait(500)
            settle(window)
            path = output / f"train_{name}.png"
            shoot(window, path)
            if path.stat().st_size > MOST_BYTES:
                image = Image.open(path).convert("RGB")
                image.resize((3 * image.width // 4, 3 * image.height // 4)).quantize(96).save(
                    path, optimize=True
                )

        mend_masks(window, save, Path(folder))
        check_demo(window, save, Path(folder))
        train(window, save, config.epochs)
        window.close()
    application.quit()


def mend_masks(window: MainWindow, save, folder: Path) -> None:
    """Masks of black and white, which most people begin with."""
    make_demo(folder / "nuclei", 12, 3)
    nuclei = VocFolder(folder / "nuclei")
    recode(nuclei, {1: 0, 2: 255})
    nuclei.class_names_path.unlink()
    shutil.rmtree(nuclei.splits_dir)
    window.training.choose(nuclei.root)
    wait(window.training.data_form.check_button.isEnabled)
    window.training.data_form.check_button.click()
    wait(window.training.data_form.offers.count)
    save("mend", "Check")
    window.banner.hide()


def check_demo(window: MainWindow, save, folder: Path) -> None:
    pane = window.training
    make_demo(folder / "cells")
    pane.choose(folder / "cells")
    wait(lambda: pane.model.source and pane.model.source.folder.name == "cells")
    pane.data_form.check_button.click()
    wait(lambda: pane.model.report)
    save("checked", "Contact sheet")


def train(window: MainWindow, save, epochs: int) -> None:
    pane = window.training
    pane.training_form.unit.setCurrentIndex(1)
    pane.training_form.amount.setValue(epochs)
    pane.training_form.name.setText("cells")
    pane.training_form.start_button.click()
    wait(lambda: pane.model.state and len(pane.model.state.rows) >= 0.7 * epochs, 1200)
    save("curves", "Curves")
    wait(lambda: pane.model.state.phase == "finished", 1200)
    save("validation", "Validation")
    pane.training_form.flags.setText("--lerning-rate 0.1")
    pane.training_form.start_button.click()
    wait(lambda: pane.model.state and pane.model.state.failure)
    save("failed", "Log")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
