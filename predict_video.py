"""Videos and cameras: every frame with its classes, for `predict.py --mode video`."""

import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from results import draw_result, keep_apart, keep_what_exists, postprocessing, print_counts
from unet import Unet
from utils.core.console import UserError, counted, note, progress, warn
from utils.core.heap import keep_freed_memory
from utils.core.threads import map_ahead
from utils.images.arrays import to_channels
from utils.inference import video
from utils.inference.postprocess import postprocess
from utils.inference.tiling import mean_logits

if TYPE_CHECKING:
    from predict import Config  # noqa: TID251 - goes with the writer of results


def predict_video(config: "Config", unet: Unet) -> None:
    """Predict the frames of a video or a camera and write them as a video; reader, network and writer work side by side."""
    check_video_settings(config)
    with video.reading(config.input) as source:
        suffix = config.input.suffix.lower()
        name = f"camera_{config.input.name}" if source.live else config.input.stem
        target = config.output / f"{name}{suffix if suffix in video.CODECS else '.mp4'}"
        keep_what_exists(config, [target])
        window = config.show and has_display()
        black = np.zeros((*source.shape, 3), np.uint8)
        # A montage or a legend makes the result wider than the video.
        shape = draw_result(config, unet, black, black[..., 0], None).shape[:2]
        with video.writing(target, shape, source.rate, source.live) as writer:
            seconds, counts = draw_video(config, unet, source, writer, window)
    (height, width), compiling = shape, ", compiling counted" if config.compile else ""
    print(f"{config.input} → {target}: {counted(writer.count, 'frame')} of {width}×{height}, {writer.rate:g} a second, codec "
          f"{writer.codec}, without sound; {source.taken / seconds:.1f} frames a second{compiling}")  # fmt: skip
    if height % 2 or width % 2:
        note("codecs take even numbers of rows and columns: the last of an odd number is cut off")
    if source.lacks:
        warn(f"{config.input} was cut off or is damaged: its header tells of {source.count} frames, {source.taken} could "
             "be read; the result holds these")  # fmt: skip
    if config.count:
        print_counts(unet, counts)


def draw_video(
    config: "Config", unet: Unet, source: video.Video, writer: video.Writer, window: bool
) -> tuple[float, np.ndarray]:
    """Seconds, and pixels of each class (256,). A camera ends by Ctrl-C, which keeps what was recorded."""
    keep_freed_memory()
    counts, start, steps = np.zeros(256, np.int64), time.perf_counter(), postprocessing(config, unet)

    def predict_logits(batch: Tensor) -> Tensor:
        frames = batch.movedim(1, 3).numpy()
        inputs = {
            n: [to_channels(frame, n) for frame in frames]
            for n in {each.in_channels for each in unet.members}
        }
        pictures = {n: torch.from_numpy(np.stack(images)).movedim(3, 1) for n, images in inputs.items()}
        return mean_logits(member.logits(pictures[member.in_channels]) for member in unet.members)

    def draw(frame_and_mask: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        frame, mask = frame_and_mask
        mask = postprocess(mask, steps) if steps.active else mask
        picture = draw_result(config, unet, frame, mask, None)
        writer.write(picture)
        if config.count:
            counts[:] += np.bincount(mask.ravel(), minlength=256)
        return picture

    # A graphics card is busy only with several small pictures at once; a processor is with one.
    height, width = source.shape
    several = not source.live and unet.device.type != "cpu"
    batch_size = min(max(2**22 // (height * width), 1), 8) if several else 1
    masks = video.segment(source.frames, predict_logits, batch_size, config.stride, config.smoothing)
    drawn = map_ahead(draw, masks, depth=1 if source.live else 8)
    try:
        for picture in progress(drawn, "predicting", "frame", source.count or None):
            if window and not video.show("predict.py: q ends", picture):
                break
    except KeyboardInterrupt:
        if not source.live:
            raise
        note("the recording was ended")
    finally:
        drawn.close()
    return time.perf_counter() - start, counts


def check_video_settings(config: "Config") -> None:
    if config.input is None:
        remedy = "python predict.py --mode video --input video.mp4"
        raise UserError(
            "check-video-settings", "--input", "nothing", "a video file, or the number of a camera", remedy
        )
    if config.stride < 1:
        raise UserError(
            "check-video-settings", "--stride", str(config.stride), "1 or more", "choose another number"
        )
    if not 0 <= config.smoothing < 1:
        raise UserError(
            "check-video-settings",
            "--smoothing",
            str(config.smoothing),
            "0 or more, and below 1",
            "choose another number",
        )
    keep_apart(config.input.parent, config.output)


def has_display() -> bool:
    reason = video.no_display()
    if reason:
        warn(f"no window can be opened here ({reason}); the video is written all the same")
    return not reason
