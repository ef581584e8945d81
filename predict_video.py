"""Videos and cameras: every frame with its classes, for `predict.py --mode video`."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from results import draw_result, keep_apart, keep_what_exists, postprocessing, print_counts
from unet import Unet
from utils.core.console import UserError, counted
from utils.core.settings import check_settings
from utils.images.arrays import to_channels
from utils.inference.postprocess import postprocess
from utils.inference.tiling import mean_logits
from utils.inference.video import VideoSettings, segment_video, video_target

if TYPE_CHECKING:
    from predict import Config  # noqa: TID251 - goes with the writer of results


def predict_video(config: "Config", unet: Unet) -> None:
    """Predict the frames of a video or a camera and write them as a video."""
    if config.input is None:
        expected, remedy = (
            "a video file, or the number of a camera",
            "python predict.py --mode video --input video.mp4",
        )
        raise UserError("input-missing", "--input", "nothing", expected, remedy)
    settings = VideoSettings(config.stride, config.smoothing, config.show)
    check_settings(settings)
    keep_apart(config.input.parent, config.output)
    target = video_target(config.input, config.output)
    keep_what_exists(config, [target])
    steps = postprocessing(config, unet)

    def predict_logits(frames: np.ndarray) -> Tensor:
        channels = {member.in_channels for member in unet.members}
        inputs = {n: np.stack([to_channels(frame, n) for frame in frames]) for n in channels}
        pictures = {n: torch.from_numpy(array).movedim(3, 1) for n, array in inputs.items()}
        return mean_logits(member.logits(pictures[member.in_channels]) for member in unet.members)

    def clean(mask: np.ndarray) -> np.ndarray:
        return postprocess(mask, steps) if steps.active else mask

    def draw(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return draw_result(config, unet, frame, mask, None)

    on_gpu = unet.device.type != "cpu"
    done = segment_video(config.input, target, settings, predict_logits, clean, draw, batch_frames=on_gpu)
    (height, width), compiling = done.shape, ", compiling included" if config.compile else ""
    print(
        f"{config.input} → {target}: {counted(done.frames, 'frame')} of {width}×{height}, "
        f"{float(done.rate):g} per second, codec {done.codec}, without sound; "
        f"{done.frames / done.seconds:.1f} frames per second{compiling}"
    )
    if config.count:
        print_counts(unet, done.counts)
