"""What the process of the network does: it opens models and predicts, and tells of tiles as they are done."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from gui.card import Choices, FolderJob, FolderReport, ModelCard
from unet import Unet
from utils.inference.ensemble import symmetric_views
from utils.inference.folder import list_sources, predict_share
from utils.inference.maps import certainty, classes, log_odds_of
from utils.inference.outputs import FolderTables, ResultSettings, Source, refuse_overwrite, refuse_same_folder
from utils.inference.postprocess import postprocess
from utils.inference.rendering import Drawing
from utils.inference.results import ResultWriter
from utils.inference.video import VideoSettings, segment_video, video_target
from utils.models.onnx import OnnxNetwork

# Pictures of more pixels are predicted in tiles of this side, so that something is seen soon.
WHOLE_PIXELS, SIDE = 1 << 21, 1024

Emit = Callable[..., None]  # sends something to the window; raises Cancelled when it waits no more


class Session:
    """One model at a time. `emit` may end every call."""

    unet: Unet

    def open_model(self, path: Path | None, device: str, emit: Emit) -> ModelCard:
        """Raises UserError."""
        unet = Unet(path, device)
        self.gap_class, self.unet = unet.gap_class, unet
        first = unet.members[0]
        known = not isinstance(unet.net, OnnxNetwork)
        return ModelCard(
            path=Path(first.path),
            class_names=tuple(unet.class_names),
            palette=unet.palette,
            backbone=unet.backbone,
            input_shape=unet.input_shape,
            parameters=sum(weights.numel() for weights in unet.net.parameters()) if known else 0,
            file_bytes=Path(first.path).stat().st_size,
            precision=str(unet.precision),
            scores={name: float(score) for name, score in unet.scores.items()},
            separator=unet.gap_class,
            closing=unet.closing,
            views=len(symmetric_views(unet.settings.get("symmetry"))),
        )

    def predict(self, picture: Path | np.ndarray, tta: bool, emit: Emit) -> None:
        """Emit (top, left, classes, certainty, ridge) of each tile, (h, w) uint8.

        Classes are those of the network, with gaps; ridge: log odds of the class whose gaps may be closed,
        None without such a class. Raises UserError.
        """
        image = self.unet.open(picture)
        height, width = image.shape[:2]
        self._set(tta, None, SIDE if height * width > WHOLE_PIXELS else None)
        outputs = [classes, certainty]
        if self.gap_class is not None:
            outputs.append(partial(log_odds_of, self.gap_class))
        for top, left, (mask, sure, *ridge) in self.unet.tiles(image, *outputs):
            emit(top, left, mask, sure, ridge[0] if ridge else None)

    def predict_folder(self, job: FolderJob, emit: Emit) -> FolderReport:
        """Predict the pictures of a folder into another one; emits (done, of how many) after each.

        Raises UserError, result-exists where something would be replaced that may not be.
        """
        unet, choices, names = self.unet, job.choices, self.unet.class_names
        self._set(choices.tta, self.gap_class if choices.gaps else None, None)
        tables = FolderTables(job.output, job.objects)
        writer = ResultWriter(
            ResultSettings(objects=job.objects, save_labelme=job.labelme),
            Drawing(unet.palette, names),
            range(1, len(names)),
            choices.cleaning,
            job.output,
            tables,
            overwrite=job.existing == "replace",
            skip_existing=job.existing == "keep",
            members=len(unet.members),
        )
        sources, faults = list_sources(job.folder, writer)
        writer.refuse_overwrite(*sources)
        if job.existing == "stop":
            refuse_overwrite(tables.paths)
        if job.existing != "keep":
            tables.remove_summaries()
        todo = [source for source in sources if not (job.existing == "keep" and writer.is_done(source))]

        done = 0

        def watch(pictures: Iterable) -> Iterator:
            nonlocal done
            emit(0, len(todo))
            for picture in pictures:
                yield picture
                done += 1
                emit(done, len(todo))

        def predict(*arguments) -> Iterator:
            for band in unet.bands(*arguments):
                yield band
                emit(done, len(todo))

        try:
            share = predict_share(todo, writer, unet.open, predict, watch)
        finally:
            # Also of a job that is given up, because it can be continued.
            tables.finish(lambda name: writer.files(Source(job.folder / name, name)).objects)
        kept = len(sources) - len(todo)
        total, faults = len(sources) + len(faults), (*faults, *share.faults)
        return FolderReport(share.done, kept, total, share.counts, faults)

    def predict_video(
        self, source: Path, output: Path, choices: Choices, overwrite: bool, emit: Emit
    ) -> Path:
        """Write a video with its classes laid over it; emits (frames done, 0). Raises UserError."""
        unet = self.unet
        self._set(choices.tta, None, None)
        target = video_target(source, output)
        refuse_same_folder(source.parent, output)
        if not overwrite:
            refuse_overwrite([target])
        done, object_classes = 0, range(1, unet.num_classes)

        def predict_logits(frames: np.ndarray) -> torch.Tensor:
            nonlocal done
            emit(done, 0)
            done += len(frames)
            return unet.logits(torch.from_numpy(frames).movedim(3, 1))

        segment_video(
            source,
            target,
            VideoSettings(),
            predict_logits,
            clean=lambda mask: postprocess(mask, object_classes, choices.cleaning),
            draw=Drawing(unet.palette, unet.class_names).draw,
            batch_frames=unet.device.type != "cpu",
        )
        return target

    def _set(self, tta: bool, gap_class: int | None, side: int | None) -> None:
        self.unet.gap_class, self.unet.tile_size = gap_class, side
        for member in self.unet.members:
            member.tta = tta
