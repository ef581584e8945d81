"""Segmenting a video or a camera: reader, network and writer work side by side."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Lt
from torch import Tensor

from utils.core.console import note, progress, warn
from utils.core.heap import keep_freed_memory
from utils.core.settings import check_settings
from utils.core.threads import map_ahead
from utils.inference.camera import camera_number, has_display, open_camera, show
from utils.inference.video_files import CODECS, Frame, Video, open_video, write_video


@dataclass(frozen=True)
class VideoSettings:
    """How a video is segmented."""

    stride: Annotated[int, Ge(1)] = 1  # predict every so many frames; those between keep the last mask
    # Share of the past in the probabilities of a frame, below 1; 0.7 calms flicker.
    smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    show: bool = False  # open a window too; q or Esc ends


@dataclass(frozen=True, eq=False)
class VideoReport:
    """A video that was written.

    shape: (height, width) of the result; rate: mean frames per second of the video; seconds: spent on it;
    counts: (256,) int64, pixels of each class over all frames.
    """

    shape: tuple[int, int]
    frames: int
    rate: Fraction
    codec: str
    seconds: float
    counts: np.ndarray


def video_target(source: Path, folder: Path) -> Path:
    """Path of the result of a video file or camera number in `folder`; other containers become .mp4."""
    number, suffix = camera_number(source), source.suffix.lower()
    name = source.stem if number is None else f"camera_{number}"
    return folder / f"{name}{suffix if suffix in CODECS else '.mp4'}"


def segment_video(
    source: Path,
    target: Path,
    settings: VideoSettings,
    predict_logits: Callable[[np.ndarray], Tensor],
    clean: Callable[[np.ndarray], np.ndarray],
    draw: Callable[[np.ndarray, np.ndarray], np.ndarray],
    batch_frames: bool = False,
) -> VideoReport:
    """Segment a video file, or the camera of a number, and write the drawn frames with their time stamps.

    predict_logits: frames (N, H, W, 3) uint8 → (N, K, H, W); clean: mask (H, W) uint8 → mask; draw: frame
    (H, W, 3) and mask → picture (h, w, 3) uint8 of one size for all. batch_frames: predict several small
    frames at once, which pays off on a GPU. Ctrl-C ends a camera and keeps the recording. Raises UserError.
    """
    check_settings(settings)
    number = camera_number(source)
    with open_video(source) if number is None else open_camera(number) as video:
        window = settings.show and has_display()
        black = np.zeros((*video.shape, 3), np.uint8)
        # A montage or a legend makes the result wider than the video.
        shape = draw(black, black[..., 0]).shape[:2]
        counts, start = np.zeros(256, np.int64), time.perf_counter()
        keep_freed_memory()
        with write_video(target, shape, video.rate, video.time_base) as writer:

            def finish(frame_and_mask: tuple[Frame, np.ndarray]) -> Frame:
                frame, mask = frame_and_mask
                mask = clean(mask)
                drawn = Frame(draw(frame.image, mask), frame.time)
                writer.write(drawn)
                counts[:] += np.bincount(mask.ravel(), minlength=256)
                return drawn

            height, width = video.shape
            batch_size = min(max(2**22 // (height * width), 1), 8) if batch_frames and not video.live else 1
            masks = segment(video.frames, predict_logits, batch_size, settings.stride, settings.smoothing)
            with closing(map_ahead(finish, masks, depth=1 if video.live else 8)) as drawn:
                end, whole = watch(drawn, video, window)
        seconds = time.perf_counter() - start
    if whole:
        warn_about_missing_frames(source, video, writer.count, end)
    return VideoReport(shape, writer.count, video.rate, writer.codec, seconds, counts)


def watch(drawn: Iterable[Frame], video: Video, window: bool) -> tuple[Fraction, bool]:
    """Follow the frames by a progress bar and, if asked, in a window.

    Returns the time of the last one in seconds, and whether the video was left to end by itself.
    """
    end = Fraction(0)
    try:
        for frame in progress(drawn, "predicting", "frame", video.count or None):
            end = frame.time
            if window and not show("q ends the video", frame.image):
                return end, False
    except KeyboardInterrupt:
        if not video.live:
            raise
        note("the recording was ended")
    return end, True


def warn_about_missing_frames(source: Path, video: Video, count: int, end: Fraction) -> None:
    """Warn if the file ended clearly before the end that its header states or estimates, or was damaged."""
    short = end + 1 / video.rate < video.duration - max(2 / video.rate, video.duration / 50)
    if short or video.damaged:
        warn(
            f"{source} was cut off or is damaged. Its header states {video.count} frames, "
            f"{count} could be read. The result holds these."
        )


def segment(
    frames: Iterable[Frame],
    predict_logits: Callable[[np.ndarray], Tensor],
    batch_size: int = 1,
    stride: int = 1,
    smoothing: float = 0.0,
) -> Iterator[tuple[Frame, np.ndarray]]:
    """Each frame with its mask (H, W) uint8.

    predict_logits: (N, H, W, 3) uint8 → (N, K, H, W). stride: every so many frames are predicted, and those
    between keep the last mask. smoothing: share in 0…1 that the mean of the past keeps in the probabilities
    of a frame. Frames that are not predicted count as well, so that the same time is smoothed with every
    stride.
    """
    frames, start, mean, mask, past = iter(frames), 0, None, None, smoothing**stride
    while batch := list(islice(frames, batch_size)):
        chosen = [frame.image for i, frame in enumerate(batch, start) if i % stride == 0]
        masks = iter(())
        if chosen:
            scores = predict_logits(np.stack(chosen))
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
