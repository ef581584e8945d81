"""The camera and the window of a live video, both by OpenCV."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from utils.core.console import UserError, warn
from utils.inference.video_files import USUAL_RATE, Frame, Video, read_ahead

MILLISECOND = Fraction(1, 1000)


def camera_number(source: Path) -> int | None:
    """The number that stands for a camera, or None for the path of a file."""
    return int(source.name) if str(source).isdecimal() and not source.exists() else None


@contextmanager
def open_camera(number: int) -> Iterator[Video]:
    """Open a camera; times are those of the clock. Raises UserError without a camera or a picture of it."""
    silence_opencv()
    capture = cv2.VideoCapture(number)
    try:
        # The newest picture, not one that has waited.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        frames = grab_frames(capture)
        first = next(frames, None)
        if first is None:
            found = "it sends no picture" if capture.isOpened() else "no camera of this number"
            remedy = "connect it, close programs that use it, allow it in the system settings, or try 0, 1, 2"
            raise UserError("camera-missing", f"camera {number}", found, "a camera that is connected", remedy)
        rate = capture.get(cv2.CAP_PROP_FPS)
        # Some drivers report 0 or nonsense.
        rate = Fraction(rate).limit_denominator(1001) if 0.1 <= rate <= 1000 else USUAL_RATE
        with closing(read_ahead(chain([first], frames), depth=1)) as frames:
            yield Video(first.image.shape[:2], rate, MILLISECOND, 0, Fraction(0), live=True, frames=frames)
    finally:
        capture.release()


def grab_frames(capture: cv2.VideoCapture) -> Iterator[Frame]:
    """Pictures with the time of the clock, until the camera stops sending."""
    start = time.monotonic()
    while True:
        good, image = capture.read()
        if not good:
            return
        now = round((time.monotonic() - start) / MILLISECOND) * MILLISECOND
        yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), now)


def has_display() -> bool:
    """Whether a window can be opened; warns if not. Asks another process, because Qt ends one that fails."""
    command = [sys.executable, "-c", "import cv2; cv2.namedWindow('test'); cv2.waitKey(1)"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        reason, *_ = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        warn(f"no window can be opened here ({reason}); the video is written all the same")
    return not done.returncode


def show(title: str, image: np.ndarray) -> bool:
    """Show a picture (H, W, 3) uint8 RGB in a window. Returns False if it is closed or q or Esc pressed."""
    cv2.imshow(title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    closed = cv2.waitKey(1) & 0xFF in (ord("q"), 27)
    return not closed and cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1


def silence_opencv() -> None:
    """Keep OpenCV's own lines about missing cameras off the screen, if this release has a function for it."""
    # Older releases have one function for it, newer ones a module.
    if logging := getattr(cv2.utils, "logging", None):
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    elif hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)
