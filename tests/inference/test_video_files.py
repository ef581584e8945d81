"""Video files: frames, time stamps, sizes and names are kept, damage is noticed, no half file is left."""

import re
import shutil
import threading
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from scripts import snapshot
from videos import SHAPE, make_video, pictures, read_all

from utils.core.console import UserError
from utils.inference.video_files import CODECS, Frame, open_video, write_video

RATE = Fraction(25, 2)


def write(path, times, shape=SHAPE, rate=RATE, time_base=1 / RATE):
    with write_video(path, shape, rate, time_base) as writer:
        for image, time in zip(pictures(len(times), shape), times, strict=True):
            writer.write(Frame(image, time))
    return path


def evenly(number, rate=RATE):
    return [index / rate for index in range(number)]


def read(path):
    """(video, frames)"""
    with open_video(path) as video:
        return video, list(video.frames)


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("rate", [Fraction(1, 2), RATE, Fraction(30000, 1001), Fraction(240)])
@pytest.mark.parametrize("number", [1, 2, 3, 60])
def test_what_is_written_is_read(tmp_path, suffix, rate, number):
    path = write(tmp_path / f"a{suffix}", evenly(number, rate), rate=rate, time_base=1 / rate)
    video, frames = read(path)
    # Matroska counts in milliseconds.
    assert all(
        abs(frame.time - time) <= 0.0005 for frame, time in zip(frames, evenly(number, rate), strict=True)
    )
    assert float(video.rate) == pytest.approx(float(rate), rel=0.01)
    assert (video.shape, video.count, video.live) == (SHAPE, number, False)
    assert float(video.duration) == pytest.approx(float(number / rate), abs=0.002)
    errors = [np.abs(a.image - b.astype(float)).mean() for a, b in zip(frames, pictures(number), strict=True)]
    assert max(errors) < 8
    assert list(snapshot(tmp_path)) == [f"a{suffix}"]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_variable_frame_rates_are_kept(tmp_path, suffix):
    times = [Fraction(each, 1000) for each in (0, 40, 45, 90, 100, 300, 1000, 1001, 1100, 1200, 1300, 1500)]
    _, frames = read(write(tmp_path / f"a{suffix}", times, time_base=Fraction(1, 1000)))
    assert [frame.time for frame in frames] == times


def test_time_base_too_fine_for_mpeg4(tmp_path):
    times = [Fraction(each, 90000) for each in (0, 3003, 6006, 6007, 6008, 9009)]
    _, frames = read(write(tmp_path / "a.mp4", times, time_base=Fraction(1, 90000)))
    assert all(abs(frame.time - time) < 0.0001 for frame, time in zip(frames, times, strict=True))


@pytest.mark.parametrize(
    ("suffix", "code"), [(".mp4", "mp4v"), (".avi", "MJPG"), (".mkv", "mp4v"), (".wmv", "WMV2")]
)
def test_frames_are_those_of_opencv(tmp_path, suffix, code):
    path = make_video(tmp_path / f"a{suffix}", code=code)
    video, frames = read(path)
    assert np.array_equal(np.stack([frame.image for frame in frames]), read_all(path)[0])
    assert [frame.time for frame in frames] == evenly(12)
    assert (video.rate, video.shape, video.damaged) == (RATE, SHAPE, 0)


def test_opencv_reads_what_is_written(tmp_path):
    for suffix in CODECS:
        frames, rate = read_all(write(tmp_path / f"a{suffix}", evenly(12)))
        assert (frames.shape, rate) == ((12, *SHAPE, 3), 12.5)


@pytest.mark.parametrize("suffix", CODECS)
def test_odd_sizes(tmp_path, suffix):
    video, frames = read(write(tmp_path / f"a{suffix}", evenly(3), shape=(31, 47)))
    assert (video.shape, frames[0].image.shape) == ((31, 47), (31, 47, 3))


@pytest.mark.parametrize("name", ["片 段.mp4", "видео.avi", "vidéo 🎬.mkv"])
def test_names_in_any_script(tmp_path, name):
    _, frames = read(write(tmp_path / "ordner ü" / name, evenly(3)))
    assert len(frames) == 3


@pytest.mark.parametrize(
    ("matrix", "turns"), [((0, 1, -1, 0), 3), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1), ((1, 0, 0, 1), 0)]
)
def test_pictures_of_a_turned_phone_are_upright(tmp_path, matrix, turns):
    """The matrix of the track header (ISO/IEC 14496-12, tkhd), as phones write it."""
    path = write(tmp_path / "a.mp4", evenly(2))
    _, plain = read(path)
    content = bytearray(path.read_bytes())
    start = content.find(b"tkhd") + 4 + 40
    a, b, c, d = matrix
    content[start : start + 20] = np.array([a << 16, b << 16, 0, c << 16, d << 16], ">i4").tobytes()
    path.write_bytes(content)
    video, frames = read(path)
    assert np.array_equal(frames[0].image, np.rot90(plain[0].image, turns))
    assert video.shape == frames[0].image.shape[:2]


def test_file_cut_off_in_the_middle(tmp_path):
    for suffix, code in ((".avi", "MJPG"), (".mkv", "mp4v")):
        path = make_video(tmp_path / f"a{suffix}", number=40, code=code)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        video, frames = read(path)
        assert 0 < len(frames) < 30
        assert (video.count, video.duration) == (40, Fraction(32, 10))


def test_damage_in_the_middle_is_counted_and_skipped(tmp_path):
    path = make_video(tmp_path / "a.avi", number=20)
    content = bytearray(path.read_bytes())
    starts = [found.start() for found in re.finditer(b"\xff\xd8\xff", content)]
    assert len(starts) == 20
    for index in (5, 6, 19):
        content[starts[index] : starts[index] + 700] = bytes(700)  # its header
    path.write_bytes(content)
    video, frames = read(path)
    assert (len(frames), video.damaged) == (17, 3)


def no_index(path):
    shutil.move(make_video(path.with_suffix(".mp4"), code="mp4v"), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_frames(path):
    make_video(path, number=1)
    content = path.read_bytes()
    path.write_bytes(content[: content.find(b"movi") + 4])


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, "video-missing"),
        (lambda path: path.mkdir(), "video-missing"),
        (lambda path: path.write_bytes(b""), "video-unreadable"),
        (lambda path: path.write_text("words", encoding="utf-8"), "video-unreadable"),
        (no_index, "video-unreadable"),
        (no_frames, "video-unreadable"),
    ],
    ids=["missing", "folder", "empty", "words", "no index", "no frames"],
)
def test_files_that_are_no_videos(tmp_path, make, code):
    path = tmp_path / "clip.avi"
    make(path)
    with pytest.raises(UserError) as caught, open_video(path):
        pass
    assert (caught.value.code, caught.value.subject) == (code, str(path))


def test_reader_ends_with_the_one_who_reads(tmp_path):
    path, before = make_video(tmp_path / "a.avi", number=60), threading.active_count()
    with open_video(path) as video:
        next(video.frames)
    assert threading.active_count() <= before


def test_codec_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setitem(CODECS, ".avi", ("no_such_codec", "yuv420p"))
    with pytest.raises(UserError) as caught:
        write(tmp_path / "a.avi", evenly(2))
    assert (caught.value.code, caught.value.subject) == ("video-encoder", str(tmp_path / "a.avi"))
    assert snapshot(tmp_path) == {}


def test_size_that_the_codec_refuses(tmp_path):
    with pytest.raises(UserError) as caught, write_video(tmp_path / "a.mp4", (16, 70000), RATE, 1 / RATE):
        pass
    assert caught.value.code == "video-encoder"
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize("suffix", CODECS)
def test_disk_that_is_full(tmp_path, suffix):
    resource = pytest.importorskip("resource")
    noise = np.random.default_rng(0).integers(0, 256, (40, 128, 160, 3), np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # More than the writer holds back: a part of the frames does arrive.
    resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, hard))
    try:
        with (
            pytest.raises(UserError) as caught,
            write_video(tmp_path / f"a{suffix}", (128, 160), RATE, 1 / RATE) as writer,
        ):
            for image, time in zip(noise, evenly(40), strict=True):
                writer.write(Frame(image, time))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.subject == str(tmp_path / f"a{suffix}")
    assert snapshot(tmp_path) == {}


def test_interrupted_file_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), write_video(tmp_path / "a.mp4", SHAPE, RATE, 1 / RATE) as writer:
        writer.write(Frame(pictures(1)[0], Fraction(0)))
        raise KeyboardInterrupt
    assert snapshot(tmp_path) == {}


def test_frames_without_stamps_follow_at_the_usual_distance(tmp_path):
    path = tmp_path / "raw.mjpeg"
    path.write_bytes(b"".join(cv2.imencode(".jpg", image)[1].tobytes() for image in pictures(5)))
    video, frames = read(path)
    times = [frame.time for frame in frames]
    assert len(times) == 5
    assert np.diff(times).tolist() == [1 / video.rate] * 4


def test_joined_recordings_whose_clock_begins_anew(tmp_path):
    """MPEG transport streams may be joined end to end."""
    path = tmp_path / "part.ts"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SHAPE, "yuv420p"
        for image in pictures(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    joined = tmp_path / "joined.ts"
    joined.write_bytes(path.read_bytes() * 3)
    _, frames = read(joined)
    assert [frame.time for frame in frames] == [Fraction(index, 25) for index in range(len(frames))]
    assert len(frames) >= 28
