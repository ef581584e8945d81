"""The weights that a run starts from, and which run is resumed, with which settings."""

from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from torch import nn

from utils.core.console import UserError, note
from utils.core.files import read_record
from utils.images.normalisation import Normalisation
from utils.models.checkpoint import Checkpoint
from utils.models.weights import has_imagenet_weights, load_matching, load_pretrained, read_model
from utils.training.data import Data
from utils.voc.scaling import widest_range


@dataclass(frozen=True)
class Start:
    """path, weights: checkpoint to fine-tune; last: that of a run to resume, which has its own weights."""

    path: Path | None = None
    weights: Checkpoint | None = None
    last: Checkpoint | None = None

    def trained_on(self, data: Data) -> list[str]:
        """Names of the pictures of this folder that the weights will have seen, in earlier runs, too."""
        before = self.last or self.weights
        same = before and Path(before.settings.get("voc_root", "")).resolve() == data.folder.root.resolve()
        return sorted({*data.train, *(before.trained_on if same else ())})

    @property
    def optimizer(self) -> str | None:
        """That of the run that made the weights to fine-tune, if it was one of ours."""
        return self.weights.settings.get("optimizer") if self.weights else None

    def crops(self, crop: tuple[int, int] | None, batch_size: int | None) -> tuple:
        """Crop (height, width) and crops per step as given, or else those of the run to resume, if any."""
        before = self.last.settings if self.last else {}
        known = before.get("input_shape")
        return crop or (tuple(known) if known else None), batch_size or before.get("batch_size")


def read_start(model_path: Path | None, resume: Path | None) -> Start:
    """Read the checkpoint that the run starts from. Raises UserError if it is missing or damaged.

    resume: last.pth of a run, which needs no other weights; the file is absent if that run was stopped in its
    first epoch.
    """
    if resume and resume.is_file():
        return Start(model_path, last=read_model(resume))
    return Start(model_path, read_model(model_path) if model_path else None)


def load_start(
    net: nn.Module, start: Start, data: Data, backbone: str, in_channels: int, pretrained: bool
) -> Normalisation:
    """Load the weights into the network. Returns their normalisation; new weights get that of the data.

    A resumed run keeps its normalisation, even if the data have grown since; `resume_run` loads its weights.
    """
    range_16bit, scaling = data.pictures.range_16bit, data.folder.root / "scaling.json"
    # The numbers that became 0 and 65535 when pictures of floats were imported.
    float_range = widest_range(scaling) if scaling.is_file() else None
    if start.weights and not start.last:
        load_matching(net, start.weights, start.path, data.class_names)
    known = start.last or start.weights
    if known and len(known.normalisation["mean"]) == in_channels:
        normalisation = Normalisation(**known.normalisation)
        other_scale = float_range and tuple(normalisation.range_float or ()) != float_range
        if normalisation.range_16bit is None or other_scale:
            normalisation = replace(normalisation, range_16bit=range_16bit)
    else:
        normalisation = data.pictures.normalisation(in_channels)
        if pretrained and not known and has_imagenet_weights(backbone):
            needed = load_pretrained(net, backbone, in_channels)
            normalisation = replace(needed, range_16bit=range_16bit) if needed else normalisation
    return replace(normalisation, range_float=float_range) if float_range else normalisation


def find_last(resume: Path | None, save_dir: Path) -> Path | None:
    """The last.pth that `resume` means: the file itself, its folder, or `latest`: the newest in `save_dir`.

    A run that was stopped in its first epoch has none yet; its config.json tells that it is one. Raises
    UserError if there is no such run.
    """
    if resume is None or resume.is_file():
        return resume
    if resume == Path("latest") and not resume.is_dir():
        files = [path for name in ("last.pth", "config.json") for path in save_dir.glob(f"*/{name}")]
        newest = max(files, key=lambda path: path.stat().st_mtime, default=save_dir)
        subject, found, last = "--resume latest", f"no run in {save_dir}", newest.with_name("last.pth")
    else:
        subject, found, last = resume, "no such run", resume / "last.pth" if resume.is_dir() else resume
    begun = last.name == "last.pth" and last.with_name("config.json").is_file()
    if not (begun or last.is_file()):
        remedy = "start a run, or pass its folder: --resume logs/RUN"
        raise UserError("resume-missing", subject, found, "one to resume", remedy)
    return last


def settings_of_run(config: Any) -> Any:
    """The settings of the run that `config.resume` names, as those of a command line without other flags.

    Returns `config` itself if nothing is resumed, or the run left no settings. Raises UserError.
    """
    last = find_last(config.resume, config.save_dir)
    record = last and last.with_name("config.json")
    if not record or not record.is_file():
        return config
    note(f"the settings are those of {record}; flags change them")
    try:
        return replace(restore(config, read_record(record)), resume=last)
    except ValueError as error:
        remedy = "correct it, or move it away and pass all flags of that run"
        raise UserError("record-damaged", record, str(error), "settings of train.py", remedy) from None


def restore(settings: Any, record: dict[str, Any]) -> Any:
    """A settings dataclass with the values of a flat record. Raises ValueError for those of other types."""
    changes, hints = {}, get_type_hints(type(settings), include_extras=True)
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            changes[field.name] = restore(value, record)
        elif field.name in record:
            kept = record[field.name]
            changes[field.name] = msgspec.convert(kept, hints[field.name], dec_hook=lambda kind, x: kind(x))
    return replace(settings, **changes)
