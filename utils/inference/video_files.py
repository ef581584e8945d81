"""Reading and writing video files with PyAV, which keeps time stamps and opens names in any script."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, repeat
from pathlib import Path

import av
import numpy as np

from utils.core.console import UserError
from utils.core.files import replacing
from utils.core.threads import map_ahead

# Container → encoder and pixel format; videos in other containers become .mp4. Both encoders are part of
# FFmpeg itself, so every build of PyAV has them.
CODECS = {
    ".mp4": ("mpeg4", "yuv420p"),
    ".mov": ("mpeg4", "yuv420p"),
    ".mkv": ("mpeg4", "yuv420p"),
    ".avi": ("mjpeg", "yuvj420p"),
}
QUALITY = "3"  # quantiser of both encoders, from 1 (best) to 31 (smallest file)
# MPEG-4 stores the denominator of the time base in 16 bits. This one is exact for all usual frame rates.
MAX_DENOMINATOR, SUBSTITUTE_TIME_BASE = 65535, Fraction(1, 60000)
USUAL_RATE = Fraction(25)


@dataclass(frozen=True, eq=False)
class Frame:
    """image: (H, W, 3) uint8 RGB; time: seconds since the start of the video."""

    image: np.ndarray
    time: Fraction


@dataclass(eq=False)
class Video:
    """An open video or camera.

    shape: (height, width) of the upright picture; rate: mean frames per second; time_base: seconds, the unit
    of its time stamps; count, duration: frames and seconds by its header, 0 where unknown; live: a camera;
    frames: in order, read ahead in a thread; damaged: packets that could not be decoded so far.
    """

    shape: tuple[int, int]
    rate: Fraction
    time_base: Fraction
    count: int
    duration: Fraction
    live: bool
    frames: Iterator[Frame]
    damaged: int = 0


@contextmanager
def open_video(source: Path) -> Iterator[Video]:
    """Open a video file. Raises UserError if it is missing, no video, or has no frame that can be decoded."""
    if not source.is_file():
        found = "a folder" if source.is_dir() else "no such file"
        expected = "a video file, or the number of a camera (0 is the first)"
        raise UserError("video-missing", source, found, expected, "check the path")
    try:
        container = av.open(str(source))
    except av.FFmpegError as error:
        raise unreadable(source, f"no video, or one cut off before its index ({error.strerror})") from None
    with container:
        if not container.streams.video:
            raise unreadable(source, "a file without a video stream")
        stream = container.streams.video[0]
        video = describe_stream(container, stream)
        frames = decode_frames(container, stream, video)
        first = next(frames, None)
        if first is None:
            raise unreadable(source, "a video without a frame that can be decoded")
        video.shape = first.image.shape[:2]
        with closing(read_ahead(chain([first], frames), depth=8)) as video.frames:
            yield video


def unreadable(source: Path, found: str) -> UserError:
    expected = f"a video such as {' '.join(CODECS)}"
    remedy = "play it in a video player; copy it again, or convert it (ffmpeg -i VIDEO new.mp4)"
    return UserError("video-unreadable", source, found, expected, remedy)


def describe_stream(container: av.container.InputContainer, stream: av.VideoStream) -> Video:
    """What the header states, with usual values in the place of nonsense, and without frames yet."""
    rate, time_base = as_fraction(stream.average_rate), as_fraction(stream.time_base)
    rate = rate if 0.1 <= rate <= 1000 else USUAL_RATE
    time_base = time_base or 1 / rate
    # Matroska states the duration of the whole file only, in microseconds.
    duration = (stream.duration or 0) * time_base or Fraction(container.duration or 0, 10**6)
    # For an AVI that was cut off, FFmpeg reports the duration of what is left, but all frames of the header.
    duration = max(duration, stream.frames / rate)
    duration = duration if 0 < duration < 10**7 else Fraction(0)
    return Video((0, 0), rate, time_base, round(duration * rate), duration, live=False, frames=iter(()))


def as_fraction(ratio: Fraction | None) -> Fraction:
    """PyAV's ratios, None where unknown (a ratio type of its own, which is 0 then, from release 19 on)."""
    return Fraction(ratio.numerator, ratio.denominator) if ratio else Fraction(0)


def decode_frames(
    container: av.container.InputContainer, stream: av.VideoStream, video: Video
) -> Iterator[Frame]:
    """All frames, upright, in the size of the first, with increasing times. Damaged packets are left out."""
    step, form = 1 / video.rate, {"format": "rgb24", "dst_colorspace": "itu601"}
    last, start = -step, Fraction(container.start_time or 0, 10**6)
    for decoded in decode_packets(container, stream, video):
        form = {"width": decoded.width, "height": decoded.height, **form}
        time = last + step if decoded.pts is None else decoded.pts * video.time_base - start
        if time <= last:
            # Recordings that were joined begin anew; they continue at the usual distance.
            start += time - (last + step)
            time = last + step
        # Without `src_colorspace`, PyAV before release 17 ignores the file's colour matrix (BT.601 or 709).
        image = decoded.to_ndarray(**form, src_colorspace=decoded.colorspace)
        yield Frame(np.ascontiguousarray(np.rot90(image, round(decoded.rotation / 90))), time)
        last = time


def decode_packets(
    container: av.container.InputContainer, stream: av.VideoStream, video: Video
) -> Iterator[av.VideoFrame]:
    """The frames of all packets, however the file ends; `video.damaged` counts packets that are damaged."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            # An error means that the file ends in the middle of a packet.
            return
        try:
            # In one thread (`thread_type` unset): an error would discard what others had decoded meanwhile.
            decoded = packet.decode()
        except av.FFmpegError:
            video.damaged += 1
            continue
        yield from decoded


def read_ahead(items: Iterator, depth: int) -> Iterator:
    """The items, fetched by another thread while at most `depth` of them wait."""
    with closing(map_ahead(lambda _: next(items, None), repeat(None), depth=depth)) as fetched:
        for item in fetched:
            if item is None:
                return
            yield item


class VideoWriter:
    """A video file being written. count: frames so far; codec: name of the encoder."""

    def __init__(self, container: av.container.OutputContainer, stream: av.VideoStream):
        self.container, self.stream = container, stream
        self.codec, self.count, self.last = stream.codec_context.name, 0, -1

    def write(self, frame: Frame) -> None:
        """Append a frame. Times within one unit of the time base of each other become neighbouring units."""
        time_base = as_fraction(self.stream.codec_context.time_base)
        self.last = max(self.last + 1, round(frame.time / time_base))
        picture = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(frame.image), format="rgb24")
        picture.pts, picture.time_base = self.last, time_base
        self.container.mux(self.stream.encode(picture))
        self.count += 1


@contextmanager
def write_video(
    path: Path, shape: tuple[int, int], rate: Fraction, time_base: Fraction
) -> Iterator[VideoWriter]:
    """A video file of (height, width) that takes its name when it is whole; `path` ends in one of CODECS.

    rate: mean frames per second, for the header; time_base: see `Video`. Raises UserError.
    """
    codec, pixel_format = CODECS[path.suffix.lower()]
    if codec == "mpeg4" and time_base.denominator > MAX_DENOMINATOR:
        time_base = SUBSTITUTE_TIME_BASE
    # A full disk shows as an OSError, at the latest when the container is closed.
    with replacing(path) as temporary, av.open(str(temporary), "w") as container:
        try:
            stream = container.add_stream(codec, rate=rate, options={"qmin": QUALITY, "qmax": QUALITY})
            stream.height, stream.width = shape
            stream.pix_fmt, stream.codec_context.time_base = pixel_format, time_base
            # The other cores are the network's.
            stream.codec_context.thread_count = 1
            stream.codec_context.open()
        except (av.FFmpegError, ValueError) as error:
            found = f"the encoder {codec} refuses {shape[1]}×{shape[0]} pixels ({error})"
            remedy = "use another container: convert the input to .avi or .mp4"
            raise UserError("video-encoder", path, found, "a video that can be written", remedy) from None
        writer = VideoWriter(container, stream)
        yield writer
        container.mux(stream.encode())
