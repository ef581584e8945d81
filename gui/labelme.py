"""labelme beside OpenCV, whose Qt it would load on Linux: python -m gui.labelme, with its own arguments."""

from gui.qt_plugins import keep_qt_apart


def main() -> None:
    keep_qt_apart()
    from labelme.__main__ import main as start

    start()


if __name__ == "__main__":
    main()
