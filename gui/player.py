"""Videos and cameras: frames are predicted one after another and shown as pictures are."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PyQt5.QtCore import Qt, pyqtSignal
from PyQt5.QtWidgets import QHBoxLayout, QLabel, QPushButton, QStyle, QWidget

from gui.controller import Controller
from gui.jobs import Job
from gui.translation import on_language, tr
from gui.widgets import button

if TYPE_CHECKING:
    from utils.inference.video_files import Frame, Video


class Player(QWidget):
    """The row of buttons below a video. Hidden while there is none."""

    saving_asked = pyqtSignal(object)  # path of a video
    started = pyqtSignal(object)  # path of a video whose first frame is seen

    def __init__(self, controller: Controller):
        super().__init__()
        self.controller, self.jobs = controller, controller.jobs
        self.source: Path | None = None
        self.job: Job | None = None
        self.running, self.steps = threading.Event(), threading.Semaphore(0)
        style = self.style()
        self.icons = [style.standardIcon(icon) for icon in (QStyle.SP_MediaPlay, QStyle.SP_MediaPause)]
        self.play_button, self.step_button = QPushButton(), button("Next frame")
        self.step_button.setIcon(style.standardIcon(QStyle.SP_MediaSkipForward))
        self.save_button = button("Save the segmented video …")
        self.label = QLabel()
        self.play_button.clicked.connect(self.toggle)
        self.step_button.clicked.connect(self.step)
        self.save_button.clicked.connect(lambda: self.saving_asked.emit(self.source))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        for widget in (self.play_button, self.step_button, self.save_button):
            layout.addWidget(widget)
        layout.addWidget(self.label, 1, Qt.AlignRight)
        on_language(self, self._show_state)
        self.hide()

    def open(self, source: Path) -> None:
        """A video file, or the number of a camera, from its beginning."""
        self.close()
        self.source = source
        self.save_button.setVisible(source.is_file())
        self.label.setText(source.name)
        self.running.set()
        self.show()
        self._show_state()
        self.job = self.jobs.run(
            "video", self._work, self._ended, kind="video", failed=lambda _: self.close()
        )

    def close(self) -> None:
        """End the video. Its last frame stays in the viewer."""
        if self.job:
            self.job.cancel()
            self.job = None
            self.running.set()
            self.steps.release()
        self.hide()

    def toggle(self) -> None:
        if self.job is None and self.source:
            self.open(self.source)
        elif self.running.is_set():
            self.running.clear()
            self.controller.measure_shown()
        else:
            self.running.set()
            self.steps.release()
        self._show_state()

    def step(self) -> None:
        """One frame on, and stop there."""
        if self.job is None:
            return
        if self.running.is_set():
            self.toggle()
        self.steps.release()

    def _show_state(self) -> None:
        plays = self.job is not None and self.running.is_set()
        self.play_button.setIcon(self.icons[plays])
        self.play_button.setText(tr("Pause") if plays else tr("Play"))

    def _ended(self, _result: Any) -> None:
        self.job = None
        self._show_state()
        self.controller.measure_shown()

    def _work(self, job: Job) -> None:
        model = self.controller.imported.result()
        with opened(self.source) as video:
            start, skipped = time.monotonic(), 0.0
            for number, frame in enumerate(video.frames):
                began = time.monotonic()
                self._wait(job)
                skipped += time.monotonic() - began
                if job.is_cancelled():
                    return
                document = model.segment_frame(frame.image, self._name(video, frame), self.controller.choices)
                if not video.live:
                    # Not faster than it was recorded.
                    early = float(frame.time) - (time.monotonic() - start - skipped)
                    time.sleep(min(max(early, 0), 1))
                job.post(partial(self._show, document, number, video, frame))

    def _wait(self, job: Job) -> None:
        """Until the video runs, or is asked for one frame more."""
        while not (self.running.is_set() or job.is_cancelled()):
            if self.steps.acquire(timeout=0.1):
                return
        while self.steps.acquire(blocking=False):
            pass

    def _name(self, video: "Video", frame: "Frame") -> str:
        name = f"camera {self.source.name}" if video.live else self.source.stem
        return f"{name}_{float(frame.time):.3f}s.png"

    def _show(self, document: Any, number: int, video: "Video", frame: "Frame") -> None:
        count = f" / {video.count}" if video.count else ""
        where = tr("frame {number}, {time:.1f} s", number=f"{number + 1}{count}", time=float(frame.time))
        self.label.setText(f"{self.source.name}: {where}")
        self.controller.show_frame(document)
        if not number:
            self.started.emit(self.source)
        if not self.running.is_set():
            self.controller.measure_shown()


@contextmanager
def opened(source: Path) -> Iterator["Video"]:
    """A video file or camera. Raises UserError."""
    from utils.inference.camera import camera_number, open_camera
    from utils.inference.video_files import open_video

    number = camera_number(source)
    with open_video(source) if number is None else open_camera(number) as video:
        yield video
