"""predict.py --mode video: files and cameras, whole, cut off, or not there."""

import sys
import threading
from itertools import count, islice

import cv2
import numpy as np
import pytest
import torch
from scripts import favour, run, save_untrained, snapshot

import predict
from predict import Config
from unet import Unet
from utils.core.console import UserError
from utils.core.threads import map_ahead
from utils.inference import video
from utils.voc.demo import draw_sample

SHAPE = (48, 64)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("weights") / "best.pth")


@pytest.fixture
def predict_video(weights, tmp_path):
    def start(source, **settings):
        fixed = {"model_path": weights, "output": tmp_path / "out", "device": "cpu", "precision": "fp32"}
        predict.main(Config(**{"mode": "video", "input": source, **fixed, **settings}))
        return tmp_path / "out"

    return start


def pictures(number, shape=SHAPE):
    """Frames that move by 2 pixels each."""
    image = draw_sample(0, max(shape))[0][: shape[0], : shape[1]]
    image = np.stack([image, image // 2, 255 - image], axis=-1)
    return [np.roll(image, 2 * index, axis=1) for index in range(number)]


def make_video(path, number=12, code="MJPG", rate=12.5, shape=SHAPE):
    path.parent.mkdir(parents=True, exist_ok=True)
    file = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), rate, shape[::-1])
    for frame in pictures(number, shape):
        file.write(np.ascontiguousarray(frame[..., ::-1]))
    file.release()
    return path


def read_all(path):
    """(frames in RGB, frames a second) by OpenCV alone."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while (found := capture.read())[0]:
        frames.append(found[1][..., ::-1])
    return np.stack(frames), capture.get(cv2.CAP_PROP_FPS)


def expected_masks(weights, frames):
    unet = Unet(weights, "cpu", "fp32")
    return np.stack([unet.predict(np.ascontiguousarray(frame)) for frame in frames])


@pytest.mark.parametrize(
    ("name", "code"), [("clip.mp4", "mp4v"), ("片 段.avi", "MJPG"), ("clip.mkv", "mp4v")]
)
def test_size_rate_and_frames_are_kept(predict_video, weights, tmp_path, capsys, name, code):
    source = make_video(tmp_path / "in" / name, code=code)
    out = predict_video(source, mix_type="cutout")
    frames, rate = read_all(source)
    result, result_rate = read_all(out / name)
    assert result.shape == frames.shape == (12, *SHAPE, 3)
    assert result_rate == rate == 12.5
    painted = frames * (expected_masks(weights, frames) > 0)[..., None]
    # The codec loses some, but each frame is nearest to its own.
    distance = [[np.abs(a.astype(float) - b).mean() for b in painted] for a in result]
    assert np.abs(np.argmin(distance, axis=1) - np.arange(12)).max() <= 1
    output = capsys.readouterr().out
    assert f"{out / name}: 12 frames of 64×48, 12.5 a second, codec {code} (" in output
    assert "without sound" in output
    assert list(snapshot(out)) == [name]


def test_other_containers_become_mp4(predict_video, tmp_path):
    source = make_video(tmp_path / "in" / "clip.wmv", code="WMV2")
    assert list(snapshot(predict_video(source))) == ["clip.mp4"]


def test_pixels_are_counted_over_all_frames(predict_video, weights, tmp_path, capsys):
    source = make_video(tmp_path / "in" / "clip.avi")
    predict_video(source, count=True)
    output = capsys.readouterr().out
    for pixels in np.bincount(expected_masks(weights, read_all(source)[0]).ravel(), minlength=3):
        assert f" {pixels} pixels " in output


def test_file_cut_off_in_the_middle(predict_video, tmp_path, capsys):
    source = make_video(tmp_path / "in" / "clip.avi", number=40)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    out = predict_video(source)
    left, written = len(read_all(source)[0]), len(read_all(out / "clip.avi")[0])
    assert 0 < left == written < 30
    warning = capsys.readouterr().err
    assert (
        f"warning: {source} was cut off or is damaged: its header tells of 40 frames, {left} could" in warning
    )
    predict_video(make_video(tmp_path / "in" / "whole.avi"))
    assert "cut off" not in capsys.readouterr().err


def no_index(path):
    make_video(path.with_suffix(".mp4"), code="mp4v").rename(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_frames(path):
    make_video(path, number=1)
    content = path.read_bytes()
    path.write_bytes(content[: content.find(b"movi") + 4])


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "a folder"),
        (lambda path: path.write_bytes(b""), "no video"),
        (lambda path: path.write_text("words", encoding="utf-8"), "no video"),
        (no_index, "no video, or one cut off before its index"),
        (no_frames, "a video without a frame that can be read"),
    ],
    ids=["missing", "folder", "empty", "words", "no index", "no frames"],
)
def test_files_that_are_no_videos(predict_video, tmp_path, make, found):
    path = tmp_path / "in" / "clip.avi"
    path.parent.mkdir()
    make(path)
    with pytest.raises(UserError, match=found) as caught:
        predict_video(path)
    assert caught.value.subject == str(path)
    assert not (tmp_path / "out").exists()


def test_camera_that_is_not_there(weights, tmp_path):
    done = run("predict.py", "--mode", "video", "--input", "77", "--model-path", weights, cwd=tmp_path)
    assert done.returncode == 2
    assert "error: camera 77\n  found:    no camera of this number" in done.stderr
    # Nothing of OpenCV's own complaints.
    assert "obsensor" not in done.stderr
    assert "VIDEOIO" not in done.stderr
    assert not (tmp_path / "img_out").exists()


class Camera:
    """Stands for cv2.VideoCapture of a number: ten pictures, then it is unplugged."""

    def __init__(self, source):
        self.frames = iter(pictures(10))
        self.file = None if isinstance(source, int) else OPEN(source)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def set(self, *_):
        return False

    def get(self, prop):
        return self.file.get(prop) if self.file else {cv2.CAP_PROP_FPS: 30.0}.get(prop, -1)

    def read(self):
        frame = next(self.frames, None)
        return frame is not None, frame

    def isOpened(self):
        return True

    def release(self):
        if self.file:
            self.file.release()


OPEN = cv2.VideoCapture


def test_recording_of_a_camera_keeps_step_with_the_clock(predict_video, monkeypatch, tmp_path, capsys):
    """A second passes between two readings of the clock: 30 frames of the video."""
    ticks = count()
    monkeypatch.setattr(video.cv2, "VideoCapture", Camera)
    monkeypatch.setattr(video.time, "monotonic", lambda: float(next(ticks)))
    out = predict_video(video.Path("3"))
    monkeypatch.undo()
    frames, rate = read_all(out / "camera_3.mp4")
    assert (len(frames), rate) == (300, 30)
    assert "300 frames of 64×48, 30 a second" in capsys.readouterr().out


def test_ctrl_c_ends_a_recording_and_keeps_it(predict_video, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(video.cv2, "VideoCapture", Camera)
    interrupt_after(monkeypatch, 4)
    out = predict_video(video.Path("0"))
    assert "the recording was ended" in capsys.readouterr().err
    monkeypatch.undo()
    assert len(read_all(out / "camera_0.mp4")[0]) >= 4


def test_interrupted_file_leaves_nothing(predict_video, monkeypatch, tmp_path):
    source = make_video(tmp_path / "in" / "clip.avi", number=30)
    interrupt_after(monkeypatch, 4)
    before = workers()
    with pytest.raises(KeyboardInterrupt):
        predict_video(source)
    assert snapshot(tmp_path / "out") == {}
    assert workers() <= before


def workers():
    # PyTorch's compiler keeps a pool of its own for as long as the process lives.
    return {thread for thread in threading.enumerate() if "ThreadPool" in thread.name}


def interrupt_after(monkeypatch, number):
    def some(items, *_):
        yield from islice(items, number)
        raise KeyboardInterrupt

    monkeypatch.setattr("predict_video.progress", some)


def test_result_that_is_there_is_kept(predict_video, tmp_path):
    source = make_video(tmp_path / "in" / "clip.avi")
    out = predict_video(source)
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match="--overwrite"):
        predict_video(source, mix_type="mask")
    with pytest.raises(UserError, match="--output"):
        predict_video(source, output=tmp_path / "in", overwrite=True)
    assert snapshot(tmp_path) == before
    predict_video(source, mix_type="mask", overwrite=True)
    assert snapshot(out) != {"clip.avi": before["out/clip.avi"]}


def test_codec_that_cannot_be_written(predict_video, monkeypatch, tmp_path):
    source = make_video(tmp_path / "in" / "clip.avi")
    monkeypatch.setitem(video.CODECS, ".avi", ("ABCD", "VP8X"))
    with pytest.raises(UserError, match=r"cannot write 64×48 pixels there by any of the codecs ABCD, VP8X"):
        predict_video(source)
    assert snapshot(tmp_path / "out") == {}


def test_the_next_codec_is_taken_and_named(predict_video, monkeypatch, tmp_path, capsys):
    source = make_video(tmp_path / "in" / "clip.avi")
    monkeypatch.setitem(video.CODECS, ".avi", ("ABCD", "XVID"))
    predict_video(source)
    assert "codec XVID (" in capsys.readouterr().out


@pytest.mark.parametrize(("ending", "code"), [(".avi", "MJPG"), (".mp4", "mp4v"), (".mkv", "mp4v")])
def test_disk_that_is_full(predict_video, tmp_path, ending, code):
    resource = pytest.importorskip("resource")
    source = tmp_path / f"clip{ending}"
    file = cv2.VideoWriter(str(source), cv2.VideoWriter_fourcc(*code), 12.5, (160, 128))
    for frame in np.random.default_rng(0).integers(0, 256, (40, 128, 160, 3), np.uint8):
        file.write(frame)
    file.release()
    # More than the writer holds back: a part of the frames does arrive.
    limit = 80_000
    assert source.stat().st_size > 3 * limit
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(UserError, match="not all of the 40 frames arrived"):
            predict_video(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert snapshot(tmp_path / "out") == {}


@pytest.mark.parametrize(
    "settings", [{"stride": 0}, {"smoothing": 1.0}, {"smoothing": -0.1}, {"input": None}]
)
def test_settings_that_make_no_sense(predict_video, tmp_path, settings):
    with pytest.raises(UserError, match=f"--{next(iter(settings))}"):
        predict_video(
            **{"source": tmp_path / "clip.avi"} | settings
        ) if "input" not in settings else predict_video(None)


def test_without_a_display_it_is_said(weights, tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform != "linux":
        pytest.skip("only Linux runs without a display")
    source = make_video(tmp_path / "in" / "clip.avi", number=2)
    done = run(
        "predict.py", "--mode", "video", "--show", "--input", source, "--model-path", weights, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "warning: no window can be opened here" in done.stderr
    assert len(read_all(tmp_path / "img_out" / "clip.avi")[0]) == 2


def test_window_that_is_closed_ends_the_video(predict_video, monkeypatch, tmp_path):
    source = make_video(tmp_path / "in" / "clip.avi", number=30)
    shown = []
    monkeypatch.setattr(video, "no_display", lambda: "")
    monkeypatch.setattr(video, "show", lambda title, image: shown.append(image.shape) or len(shown) < 3)
    out = predict_video(source, show=True)
    assert shown == [(*SHAPE, 3)] * 3
    assert 3 <= len(read_all(out / "clip.avi")[0]) < 30


def test_odd_sizes_are_told(predict_video, tmp_path, capsys):
    file = make_video(tmp_path / "in" / "clip.avi", shape=(31, 47))
    out = predict_video(file)
    assert read_all(out / "clip.avi")[0].shape[1:] == (30, 46, 3)


def test_names_for_windows(predict_video, monkeypatch, tmp_path, capsys):
    """OpenCV gets ASCII names only; the files have theirs."""
    opened = []

    def open_recorded(name):
        opened.append(name)
        return OPEN(name)

    source = make_video(tmp_path / "in" / "clip.avi").rename(tmp_path / "in" / "片段.avi")
    monkeypatch.setattr(video, "WINDOWS", True)
    monkeypatch.setattr(video.cv2, "VideoCapture", open_recorded)
    out = predict_video(source)
    assert opened
    assert all(name.isascii() for name in opened)
    monkeypatch.undo()
    assert list(snapshot(out)) == ["片段.avi"]
    (out / "片段.avi").rename(out / "a.avi")
    assert len(read_all(out / "a.avi")[0]) == 12


def value_of_frame(batch):
    """Logits of two classes whose difference is the value of the pixel, about 100."""
    values = batch[:, :1].float() - 100
    return torch.cat([torch.zeros_like(values), values], dim=1)


def frames_of(*values):
    return [np.full((2, 3, 3), value, np.uint8) for value in values]


@pytest.mark.parametrize("batch_size", [1, 2, 4, 8])
def test_frames_between_keep_the_last_mask(batch_size):
    frames = frames_of(101, 99, 99, 99, 99, 101, 101)
    pairs = list(video.segment(iter(frames), value_of_frame, batch_size, stride=3))
    assert [int(mask[0, 0]) for _, mask in pairs] == [1, 1, 1, 0, 0, 0, 1]
    assert all(frame is given for (frame, _), given in zip(pairs, frames, strict=True))
    assert all(mask.shape == (2, 3) and mask.dtype == np.uint8 for _, mask in pairs)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_smoothing_is_an_exponential_mean_of_probabilities(batch_size):
    values = [104, 97, 97, 97, 97, 97, 103]
    found = [
        int(m[0, 0]) for _, m in video.segment(frames_of(*values), value_of_frame, batch_size, smoothing=0.6)
    ]
    mean, expected = None, []
    for value in values:
        now = 1 / (1 + np.exp(100.0 - value))
        mean = now if mean is None else 0.6 * mean + 0.4 * now
        expected.append(int(mean > 0.5))
    assert found == expected == [1, 1, 0, 0, 0, 0, 0]


def test_smoothing_reaches_equally_far_with_every_stride():
    values = [104, 0, 97, 0, 97, 0, 97, 0]
    found = [
        int(m[0, 0]) for _, m in video.segment(frames_of(*values), value_of_frame, stride=2, smoothing=0.6)
    ]
    mean, expected = None, []
    for value in values[::2]:
        now = 1 / (1 + np.exp(100.0 - value))
        mean = now if mean is None else 0.36 * mean + 0.64 * now
        expected += [int(mean > 0.5)] * 2
    assert found == expected == [1, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("ending", "code"), [(".avi", "MJPG"), (".mp4", "mp4v"), (".mkv", "mp4v"), (".mov", "mp4v")]
)
@pytest.mark.parametrize("rate", [0.5, 12.5, 30000 / 1001, 240])
def test_a_whole_file_is_known_as_whole(tmp_path, ending, code, rate):
    for number in (1, 2, 3, 60):
        source = make_video(tmp_path / f"{number}{ending}", number=number, code=code, rate=rate)
        video.check_written(source, source, number)


def test_work_ahead_is_in_order_bounded_and_ends_with_its_taker():
    started, before = [], workers()

    def work(number):
        started.append(number)
        return number * number

    results = map_ahead(work, count(), threads=3, depth=4)
    assert list(islice(results, 10)) == [n * n for n in range(10)]
    assert sorted(started) == list(range(len(started)))
    assert len(started) <= 10 + 4
    results.close()
    assert workers() <= before
    with pytest.raises(ZeroDivisionError):
        list(map_ahead(lambda n: 1 // n, [2, 1, 0, 1]))


def test_post_processing_legend_and_montage(predict_video, weights, tmp_path, capsys):
    source = make_video(tmp_path / "in" / "clip.avi", number=3)
    out = predict_video(
        source, mix_type="montage", legend=True, object_classes=("cell",), min_area=10**6, count=True
    )
    output = capsys.readouterr().out
    assert " 1 cell                  0 pixels" in output
    assert read_all(out / "clip.avi")[0].shape[2] > 2 * 64


def test_ensemble_is_the_mean(predict_video, weights, tmp_path, capsys):
    source = make_video(tmp_path / "in" / "clip.avi", number=3)
    other = favour(weights, tmp_path / "other.pth", cell=3.0)
    predict_video(source, model_path=[weights, other], count=True)
    unet = Unet([weights, other], "cpu", "fp32")
    masks = np.stack([unet.predict(np.ascontiguousarray(frame)) for frame in read_all(source)[0]])
    output = capsys.readouterr().out
    for pixels in np.bincount(masks.ravel(), minlength=3):
        assert f" {pixels} pixels " in output


@pytest.mark.parametrize(
    "name", ["objects", "save_labelme", "cutouts", "save_proba", "save_uncertainty", "resume"]
)
def test_what_is_for_pictures_alone_is_told(predict_video, tmp_path, name):
    with pytest.raises(
        UserError, match=f"(?s)--{name.replace('_', '-')}.*--mode video, where it changes nothing"
    ):
        predict_video(tmp_path / "a.mp4", **{name: True})


def test_a_mistyped_path_is_no_camera(tmp_path):
    with pytest.raises(UserError, match="no such file"), video.reading(tmp_path / "clips" / "0"):
        pass
