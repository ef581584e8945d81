"""Made videos for the tests, written and read by OpenCV."""

from pathlib import Path

import cv2
import numpy as np

from utils.voc.demo import draw_sample

SHAPE = (48, 64)


def pictures(number: int, shape: tuple[int, int] = SHAPE) -> list[np.ndarray]:
    """Frames (H, W, 3) uint8 RGB that move by 2 pixels each."""
    image = draw_sample(0, max(shape))[0][: shape[0], : shape[1]]
    image = np.stack([image, image // 2, 255 - image], axis=-1)
    return [np.roll(image, 2 * index, axis=1) for index in range(number)]


def make_video(
    path: Path, number: int = 12, code: str = "MJPG", rate: float = 12.5, shape: tuple[int, int] = SHAPE
) -> Path:
    """A video file of `pictures`, by OpenCV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), rate, shape[::-1])
    for frame in pictures(number, shape):
        file.write(np.ascontiguousarray(frame[..., ::-1]))
    file.release()
    return path


def read_all(path: Path) -> tuple[np.ndarray, float]:
    """(frames in RGB, frames per second) by OpenCV."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while (found := capture.read())[0]:
        frames.append(found[1][..., ::-1])
    return np.stack(frames), capture.get(cv2.CAP_PROP_FPS)
