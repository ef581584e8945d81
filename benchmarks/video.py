"""Frames per second of a 640×480 video: from file to file and in memory. python benchmarks/video.py"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import predict
from predict import Config
from unet import Unet
from utils.inference.video_files import open_video
from utils.voc.demo import draw_sample

FRAMES, ROUNDS = 60, 3


def make_video(path: Path) -> None:
    gray = draw_sample(0, 640)[0][:480]
    image = np.stack([gray, np.roll(gray, 1, 0), gray // 2], axis=2)
    file = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25.0, (640, 480))
    for index in range(FRAMES):
        file.write(np.roll(image, 4 * index, axis=1))
    file.release()


def main() -> None:
    model = Path(__file__).parents[1] / "model_data" / "unet_demo.pth"
    unet, alone, whole = Unet(model), [], []
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "in" / "clip.mp4"
        source.parent.mkdir()
        make_video(source)
        with open_video(source) as video:
            frames = [frame.image for frame in video.frames]
        config = Config(mode="video", input=source, output=Path(directory) / "out", overwrite=True)
        # In turns, so that other work on the machine troubles both alike; the first round warms up.
        for _ in range(1 + ROUNDS):
            start = time.perf_counter()
            for frame in frames:
                unet.predict(frame)
            alone.append(FRAMES / (time.perf_counter() - start))
            start = time.perf_counter()
            predict.predict_video(config, unet)
            whole.append(FRAMES / (time.perf_counter() - start))
    network, end_to_end = statistics.median(alone[1:]), statistics.median(whole[1:])
    print(f"| {unet.precision} | frames per second |\n| --- | --- |\n| the network alone | {network:.1f} |")
    print(f"| from file to file | {end_to_end:.1f} ({end_to_end / network:.0%}) |")


if __name__ == "__main__":
    main()
