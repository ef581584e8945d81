"""Videos and cameras: frames in, frames out, each in a thread of its own beside the network (OpenCV reads and writes)."""

import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from utils.core.console import UserError
from utils.core.files import replacing
from utils.core.threads import map_ahead

# What OpenCV can usually write into each container, best first; any other container becomes .mp4.
CODECS = {
    ".mp4": ("mp4v", "avc1"),
    ".mov": ("mp4v", "avc1"),
    ".avi": ("MJPG", "XVID"),
    ".mkv": ("mp4v", "XVID", "MJPG"),
}
USUAL_RATE = 25.0
WINDOWS = os.name == "nt"


@dataclass
class Video:
    """An open video or camera. shape: (height, width); rate: frames a second; count: frames by its header, 0 unknown.

    frames: RGB arrays (H, W, 3) uint8 in order, read ahead; live: a camera; taken: frames read so far; ended: no more came.
    """

    shape: tuple[int, int]
    rate: float
    count: int
    live: bool
    frames: Iterator[np.ndarray]
    taken: int = 0
    ended: bool = False

    @property
    def lacks(self) -> bool:
        """Whether the file ended clearly before the number of frames that its header tells (some headers estimate)."""
        return self.ended and self.taken < self.count - max(2, self.count // 50)


@contextmanager
def reading(source: Path) -> Iterator[Video]:
    """Open a video file, or the camera of a number. Raises UserError for what is missing, no video, or without frames."""
    camera = str(source).isdecimal() and not source.exists()
    if not camera and not source.is_file():
        found = "a folder" if source.is_dir() else "no such file"
        raise UserError(
            "reading",
            source,
            found,
            "a video file, or the number of a camera (0 is the first)",
            "check the path",
        )
    quieten()
    with native_name(source, copy_in=True) as name:
        capture = cv2.VideoCapture(int(source.name) if camera else str(name))
        try:
            if camera:
                # The newest picture, not one that has waited.
                capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            good, first = capture.read()
            if not good:
                raise unreadable(source, camera, capture.isOpened())
            rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
            # Some headers hold nonsense: a rate of 0 or 90,000, or no number at all; 2⁶² frames, or a negative number.
            rate = rate if 0.1 <= rate <= 1000 else USUAL_RATE
            count = int(count) if math.isfinite(count) and 0 < count < 1e9 and not camera else 0
            video = Video(first.shape[:2], rate, count, camera, iter(()))
            video.frames = read_frames(capture, first, video)
            # Closed last, the frames end the thread that reads before the capture goes.
            with closing(video.frames):
                yield video
        finally:
            capture.release()


def unreadable(source: Path, camera: bool, opened: bool) -> UserError:
    if camera:
        found = "it gives no picture" if opened else "no camera of this number"
        remedy = "plug it in, close other programs that use it, allow cameras in the system's settings, or try 0, 1, 2"
        return UserError("unreadable", f"camera {source.name}", found, "a camera that is connected", remedy)
    found = (
        "a video without a frame that can be read" if opened else "no video, or one cut off before its index"
    )
    remedy = "play it in a video player; copy it again, or convert it (ffmpeg -i VIDEO new.mp4)"
    return UserError("unreadable", source, found, f"a video such as {' '.join(CODECS)}", remedy)


def read_frames(capture: cv2.VideoCapture, first: np.ndarray, video: Video) -> Iterator[np.ndarray]:
    """The first frame and all that follow, in RGB, until the first that cannot be read."""
    yield cv2.cvtColor(first, cv2.COLOR_BGR2RGB)
    video.taken = 1
    for good, frame in map_ahead(lambda _: capture.read(), repeat(None), depth=1 if video.live else 8):
        if not good:
            video.ended = True
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        video.taken += 1


def segment(
    frames: Iterable[np.ndarray],
    predict_logits: Callable[[Tensor], Tensor],
    batch_size: int = 1,
    stride: int = 1,
    smoothing: float = 0.0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each frame (H, W, 3) with its mask (H, W) uint8.

    predict_logits: pictures (N, 3, H, W) uint8 → logits (N, K, H, W). stride: every so many frames are predicted, and those
    between keep the last mask. smoothing: share in 0…1 that the mean of the past keeps in the probabilities of a frame,
    those not predicted counted, so that the same time is smoothed with every stride.
    """
    frames, start, mean, mask, past = iter(frames), 0, None, None, smoothing**stride
    while batch := list(islice(frames, batch_size)):
        chosen = [frame for i, frame in enumerate(batch, start) if i % stride == 0]
        masks = iter(())
        if chosen:
            scores = predict_logits(torch.from_numpy(np.stack(chosen)).movedim(3, 1))
            if smoothing:
                scores = scores.softmax(1)
                for i, now in enumerate(scores):
                    mean = now if mean is None else past * mean + (1 - past) * now
                    scores[i] = mean
            masks = iter(scores.argmax(1).to(torch.uint8).cpu().numpy())
        for i, frame in enumerate(batch, start):
            mask = next(masks) if i % stride == 0 else mask
            yield frame, mask
        start += len(batch)


class Writer:
    """A video file that is being written. codec: what opened, in words; count: frames written."""

    def __init__(self, path: Path, subject: Path, shape: tuple[int, int], rate: float, live: bool):
        self.rate, self.live, self.count, self.start = rate, live, 0, time.monotonic()
        for code in CODECS[path.suffix.lower()]:
            self.file = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), rate, shape[::-1])
            if self.file.isOpened():
                self.codec = f"{code} ({self.file.getBackendName()})"
                return
        codes = ", ".join(CODECS[path.suffix.lower()])
        found = f"OpenCV cannot write {shape[1]}×{shape[0]} pixels there by any of the codecs {codes}"
        remedy = (
            "check the folder and the free space; another container may work: give the video as .avi or .mp4"
        )
        raise UserError("init", subject, found, "a video that can be written", remedy)

    def write(self, image: np.ndarray) -> None:
        """Add a picture (H, W, 3) uint8 RGB; of a camera, as often as keeps the video in step with the clock."""
        due = (
            max(self.count + 1, round((time.monotonic() - self.start) * self.rate))
            if self.live
            else self.count + 1
        )
        frame = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        while self.count < due:
            self.file.write(frame)
            self.count += 1


@contextmanager
def writing(path: Path, shape: tuple[int, int], rate: float, live: bool = False) -> Iterator[Writer]:
    """A video file of (height, width) that takes its name when it is whole. Raises UserError if it cannot be written."""
    with replacing(path) as temporary, native_name(temporary, copy_in=False) as name:
        writer = Writer(name, path, shape, rate, live)
        try:
            yield writer
        finally:
            writer.file.release()
        check_written(name, path, writer.count)
        if name != temporary:
            shutil.move(name, temporary)


def check_written(name: Path, path: Path, count: int) -> None:
    """Raises UserError if the file ends before its last frames: OpenCV's writer is silent when the disk is full."""
    capture, last = cv2.VideoCapture(str(name)), max(count - 1 - max(2, count // 50), 0)
    # A file without its index, written last of all, knows no number of frames and is searched from its beginning.
    whole = capture.get(cv2.CAP_PROP_FRAME_COUNT) > last
    capture.set(cv2.CAP_PROP_POS_FRAMES, last)
    whole = capture.grab() and whole
    capture.release()
    if not whole:
        found = f"not all of the {count} frames arrived in the file"
        raise UserError(
            "check-written", path, found, "a folder with free space", "free space, or choose another --output"
        )


@contextmanager
def native_name(path: Path, copy_in: bool) -> Iterator[Path]:
    """A path that OpenCV's video functions can open: on Windows they fail at names that are not ASCII."""
    if not WINDOWS or str(path).isascii():
        yield path
        return
    # The user's own folder, and so the usual one for temporary files, may be named in any script.
    place = next(
        place for place in (tempfile.gettempdir(), os.environ.get("PUBLIC", "C:\\")) if place.isascii()
    )
    with tempfile.TemporaryDirectory(dir=place) as folder:
        name = Path(folder) / f"video{path.suffix}"
        if copy_in:
            shutil.copyfile(path, name)
        yield name


def no_display() -> str:
    """Why no window can be opened, or nothing. Asked in another process, because Qt ends the one that fails."""
    command = [sys.executable, "-c", "import cv2; cv2.namedWindow('test'); cv2.waitKey(1)"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return lines[0] if done.returncode else ""


def show(title: str, image: np.ndarray) -> bool:
    """Show a picture (H, W, 3) uint8 RGB in a window; False when q or Esc was pressed or the window was closed."""
    cv2.imshow(title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    closed = cv2.waitKey(1) & 0xFF in (ord("q"), 27)
    return not closed and cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1


def quieten() -> None:
    """Keep OpenCV's and FFmpeg's own lines about faults off the screen; what matters is told in our words."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # Older releases have one function for it, newer ones a module.
    logging = getattr(cv2.utils, "logging", None)
    if logging:
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    else:
        cv2.setLogLevel(0)
