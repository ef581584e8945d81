"""What a run starts from: new or ImageNet weights, a checkpoint to fine-tune, the last.pth of a run."""

from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from utils.images.normalisation import Normalisation
from utils.models.checkpoint import Checkpoint, load_checkpoint
from utils.models.weights import has_imagenet_weights, load_matching, load_pretrained, read_model
from utils.training.data import Data
from utils.voc.scaling import widest_range


@dataclass(frozen=True)
class Start:
    """path, weights: checkpoint to fine-tune; last: that of a run to resume, which has its own weights."""

    path: Path | None = None
    weights: Checkpoint | None = None
    last: Checkpoint | None = None


def read_start(model_path: Path | None, resume: Path | None) -> Start:
    """Read each checkpoint once. Raises UserError if one is missing or damaged."""
    weights = read_model(model_path) if model_path else None
    return Start(model_path, weights, load_checkpoint(resume) if resume else None)


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
        load_matching(net, start.weights, start.path)
    if known := start.last or start.weights:
        normalisation = Normalisation(**known.normalisation)
        other_scale = float_range and tuple(normalisation.range_float or ()) != float_range
        if normalisation.range_16bit is None or other_scale:
            normalisation = replace(normalisation, range_16bit=range_16bit)
    elif pretrained and has_imagenet_weights(backbone):
        normalisation = replace(load_pretrained(net, backbone, in_channels), range_16bit=range_16bit)
    else:
        normalisation = data.pictures.normalisation(in_channels)
    return replace(normalisation, range_float=float_range) if float_range else normalisation
