"""Segmenting a stream of frames: strides, smoothing, cameras, windows, interruptions."""

import subprocess
import threading
from fractions import Fraction
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from scripts import snapshot
from videos import SHAPE, make_video, pictures, read_all

from utils.core.console import UserError
from utils.inference import camera, video
from utils.inference.video import VideoSettings, segment, segment_video, video_target
from utils.inference.video_files import Frame, open_video, write_video


def bright(frames):
    """Logits of two classes: the second where the mean of the channels is above 128."""
    values = torch.from_numpy(frames).float().mean(-1) - 128
    return torch.stack([-values, values], dim=1)


def keep(mask):
    return mask


def paint(frame, mask):
    return frame * mask[..., None]


def segmented(source, folder, settings=None, predict_logits=bright, clean=keep, draw=paint, **options):
    target = video_target(source, folder / "out")
    return segment_video(source, target, settings or VideoSettings(), predict_logits, clean, draw, **options)


@pytest.mark.parametrize("batch_frames", [False, True])
@pytest.mark.parametrize(
    ("name", "code"), [("clip.mp4", "mp4v"), ("片 段.avi", "MJPG"), ("clip.mkv", "mp4v")]
)
def test_size_rate_and_frames_are_kept(tmp_path, name, code, batch_frames):
    source = make_video(tmp_path / name, code=code)
    report = segmented(source, tmp_path, batch_frames=batch_frames)
    frames, rate = read_all(source)
    result, result_rate = read_all(tmp_path / "out" / name)
    assert result.shape == frames.shape == (12, *SHAPE, 3)
    assert result_rate == rate == 12.5
    painted = frames * (frames.mean(-1) > 128)[..., None]
    # The codec loses some, but each frame is nearest to its own.
    distance = [[np.abs(a.astype(float) - b).mean() for b in painted] for a in result]
    assert np.abs(np.argmin(distance, axis=1) - np.arange(12)).max() <= 1
    assert (report.shape, report.frames, report.rate) == (SHAPE, 12, Fraction(25, 2))
    assert report.counts.sum() == frames[..., 0].size
    assert list(snapshot(tmp_path / "out")) == [name]


def test_time_stamps_of_a_variable_rate_are_kept(tmp_path):
    times = [Fraction(each, 1000) for each in (0, 40, 45, 90, 1000, 1001, 1500)]
    with write_video(tmp_path / "clip.mkv", SHAPE, Fraction(10), Fraction(1, 1000)) as writer:
        for image, time in zip(pictures(7), times, strict=True):
            writer.write(Frame(image, time))
    segmented(tmp_path / "clip.mkv", tmp_path, VideoSettings(stride=2))
    with open_video(tmp_path / "out" / "clip.mkv") as result:
        assert [frame.time for frame in result.frames] == times


def test_other_containers_become_mp4(tmp_path):
    segmented(make_video(tmp_path / "clip.wmv", code="WMV2"), tmp_path)
    assert list(snapshot(tmp_path / "out")) == ["clip.mp4"]


def test_masks_are_cleaned_before_they_are_drawn_and_counted(tmp_path):
    source = make_video(tmp_path / "clip.avi", number=3)
    report = segmented(source, tmp_path, clean=np.ones_like)
    assert list(np.flatnonzero(report.counts)) == [1]
    assert np.abs(read_all(tmp_path / "out" / "clip.avi")[0].astype(int) - read_all(source)[0]).mean() < 8


def test_drawn_pictures_may_be_larger(tmp_path):
    source = make_video(tmp_path / "clip.avi", number=3)
    report = segmented(source, tmp_path, draw=lambda frame, mask: np.hstack([frame, paint(frame, mask)]))
    assert report.shape == (SHAPE[0], 2 * SHAPE[1])
    assert read_all(tmp_path / "out" / "clip.avi")[0].shape == (3, *report.shape, 3)


@pytest.mark.parametrize(("suffix", "code"), [(".avi", "MJPG"), (".mkv", "mp4v")])
def test_missing_frames_are_reported(tmp_path, capsys, suffix, code):
    source = make_video(tmp_path / f"clip{suffix}", number=40, code=code)
    segmented(source, tmp_path)
    assert capsys.readouterr().err == ""
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    report = segmented(source, tmp_path)
    assert 0 < report.frames == len(read_all(source)[0]) < 30
    warning = capsys.readouterr().err
    assert all(text in warning for text in ("warning: ", str(source), "40", str(report.frames)))


def test_no_video_leaves_nothing(tmp_path):
    (tmp_path / "clip.avi").write_text("words", encoding="utf-8")
    with pytest.raises(UserError):
        segmented(tmp_path / "clip.avi", tmp_path)
    assert not (tmp_path / "out").exists()


class Camera:
    """Stands for cv2.VideoCapture of a number: ten pictures, then it is unplugged."""

    def __init__(self, number):
        self.frames = iter(pictures(10))

    def set(self, *_):
        return False

    def get(self, prop):
        return {cv2.CAP_PROP_FPS: 30.0}.get(prop, -1)

    def read(self):
        frame = next(self.frames, None)
        return frame is not None, frame

    def isOpened(self):
        return True

    def release(self):
        pass


def test_recording_of_a_camera_keeps_step_with_the_clock(monkeypatch, tmp_path):
    """A second passes between two readings of the clock."""
    ticks = count()
    monkeypatch.setattr(camera.cv2, "VideoCapture", Camera)
    monkeypatch.setattr(camera.time, "monotonic", lambda: float(next(ticks)))
    report = segmented(Path("3"), tmp_path)
    assert (report.frames, report.rate) == (10, 30)
    with open_video(tmp_path / "out" / "camera_3.mp4") as result:
        times = [frame.time for frame in result.frames]
    assert np.diff(times).tolist() == [1] * 9


def interrupt_after(number):
    calls = count(1)

    def predict_logits(frames):
        if next(calls) > number:
            raise KeyboardInterrupt
        return bright(frames)

    return predict_logits


def test_ctrl_c_ends_a_recording_and_keeps_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(camera.cv2, "VideoCapture", Camera)
    segmented(Path("0"), tmp_path, predict_logits=interrupt_after(5))
    assert "note: " in capsys.readouterr().err
    assert len(read_all(tmp_path / "out" / "camera_0.mp4")[0]) >= 4


def test_interrupted_file_leaves_nothing(tmp_path):
    source = make_video(tmp_path / "clip.avi", number=30)
    before = workers()
    with pytest.raises(KeyboardInterrupt):
        segmented(source, tmp_path, predict_logits=interrupt_after(12))
    assert snapshot(tmp_path / "out") == {}
    assert workers() <= before


def workers():
    # PyTorch's compiler keeps a pool of its own for as long as the process lives.
    return {thread for thread in threading.enumerate() if "ThreadPool" in thread.name}


def test_camera_that_sends_nothing(monkeypatch, tmp_path):
    class Dark(Camera):
        def read(self):
            return False, None

    monkeypatch.setattr(camera.cv2, "VideoCapture", Dark)
    with pytest.raises(UserError) as caught:
        segmented(Path("3"), tmp_path)
    assert (caught.value.code, caught.value.subject) == ("camera-missing", "camera 3")


def test_a_path_that_ends_in_a_number_is_no_camera(monkeypatch, tmp_path):
    with pytest.raises(UserError) as caught:
        segmented(tmp_path / "clips" / "0", tmp_path)
    assert caught.value.code == "video-missing"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "0").write_bytes(b"")
    assert camera.camera_number(Path("0")) is None
    assert camera.camera_number(Path("1")) == 1


def test_window_that_is_closed_ends_the_video(monkeypatch, tmp_path):
    source = make_video(tmp_path / "clip.avi", number=30)
    shown = []
    monkeypatch.setattr(video, "has_display", lambda: True)
    monkeypatch.setattr(video, "show", lambda title, image: shown.append(image.shape) or len(shown) < 3)
    report = segmented(source, tmp_path, VideoSettings(show=True))
    assert shown == [(*SHAPE, 3)] * 3
    assert 3 <= report.frames == len(read_all(tmp_path / "out" / "clip.avi")[0]) < 30


def test_without_a_display_the_video_is_written(monkeypatch, tmp_path, capsys):
    failed = subprocess.CompletedProcess("", 1, "", "no display\n")
    monkeypatch.setattr(camera.subprocess, "run", lambda *_, **__: failed)
    report = segmented(make_video(tmp_path / "clip.avi", number=2), tmp_path, VideoSettings(show=True))
    assert report.frames == 2
    assert "no display" in capsys.readouterr().err


def test_opencv_is_silenced_with_old_and_new_releases(monkeypatch):
    levels = []
    old = SimpleNamespace(utils=SimpleNamespace(), setLogLevel=levels.append)
    module = SimpleNamespace(LOG_LEVEL_SILENT=7, setLogLevel=levels.append)
    for release in (old, SimpleNamespace(utils=SimpleNamespace(logging=module)), SimpleNamespace(utils=None)):
        monkeypatch.setattr(camera, "cv2", release)
        camera.silence_opencv()
    assert levels == [0, 7]


@pytest.mark.parametrize("settings", [{"stride": 0}, {"smoothing": 1.0}, {"smoothing": -0.1}])
def test_settings_out_of_range(tmp_path, settings):
    with pytest.raises(UserError) as caught:
        segmented(tmp_path / "clip.avi", tmp_path, VideoSettings(**settings))
    assert (caught.value.code, caught.value.subject) == ("setting-range", f"--{next(iter(settings))}")


def value_of_frame(frames):
    """Logits of two classes whose difference is the value of the pixel, about 100."""
    values = torch.from_numpy(frames[..., 0]).float() - 100
    return torch.stack([torch.zeros_like(values), values], dim=1)


def frames_of(*values):
    return [Frame(np.full((2, 3, 3), value, np.uint8), Fraction(index)) for index, value in enumerate(values)]


@pytest.mark.parametrize("batch_size", [1, 2, 4, 8])
def test_frames_between_keep_the_last_mask(batch_size):
    frames = frames_of(101, 99, 99, 99, 99, 101, 101)
    pairs = list(segment(iter(frames), value_of_frame, batch_size, stride=3))
    assert [int(mask[0, 0]) for _, mask in pairs] == [1, 1, 1, 0, 0, 0, 1]
    assert all(frame is given for (frame, _), given in zip(pairs, frames, strict=True))
    assert all(mask.shape == (2, 3) and mask.dtype == np.uint8 for _, mask in pairs)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_smoothing_is_an_exponential_mean_of_probabilities(batch_size):
    values = [104, 97, 97, 97, 97, 97, 103]
    pairs = segment(frames_of(*values), value_of_frame, batch_size, smoothing=0.6)
    mean, expected = None, []
    for value in values:
        now = 1 / (1 + np.exp(100.0 - value))
        mean = now if mean is None else 0.6 * mean + 0.4 * now
        expected.append(int(mean > 0.5))
    assert [int(mask[0, 0]) for _, mask in pairs] == expected == [1, 1, 0, 0, 0, 0, 0]


def test_smoothing_reaches_equally_far_with_every_stride():
    values = [104, 0, 97, 0, 97, 0, 97, 0]
    pairs = segment(frames_of(*values), value_of_frame, stride=2, smoothing=0.6)
    mean, expected = None, []
    for value in values[::2]:
        now = 1 / (1 + np.exp(100.0 - value))
        mean = now if mean is None else 0.36 * mean + 0.64 * now
        expected += [int(mean > 0.5)] * 2
    assert [int(mask[0, 0]) for _, mask in pairs] == expected == [1, 1, 0, 0, 0, 0, 0, 0]
