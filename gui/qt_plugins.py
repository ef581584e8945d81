"""OpenCV and PyQt5 in one process: on Linux each brings a Qt of its own."""

import os
from pathlib import Path

# Set by `import cv2` of the wheels of opencv-python for Linux.
VARIABLES = "QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_FONTDIR"


def keep_qt_apart() -> None:
    """Let PyQt5 load its own plugins. Call it before the QApplication is made; again does no harm.

    `import cv2` points every Qt in the process, and in the programs that it starts, to the plugins of
    OpenCV's Qt and to a folder of fonts that is not there. On an X server PyQt5 then ends the program
    ("Could not load the Qt platform plugin xcb … even though it was found"), and labelme would, too. OpenCV
    sets the variables when it is imported for the first time and not later, so that is done here, and
    what was set before is set again. After this, OpenCV cannot open windows of its own in this process.
    """
    before = {name: os.environ.get(name) for name in VARIABLES}
    import cv2

    own = Path(cv2.__file__).parent
    for name, value in before.items():
        # OpenCV's own value is there if it was imported earlier.
        if value is None or Path(value).is_relative_to(own):
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
