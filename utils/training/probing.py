"""A linear map from what a network makes of pictures to their classes, fitted on a few annotated ones."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.core.device import Precision
from utils.images.normalisation import Normalisation, to_device
from utils.images.palette import IGNORE_INDEX
from utils.models.checkpoint import Checkpoint
from utils.models.weights import build_network, make_probe
from utils.training.augmentation import STRENGTHS
from utils.training.data import Data
from utils.training.samples import SegmentationDataset

SQUARE = 8  # pixels of a square that is looked at
VIEWS = 4  # of each annotated picture
CROPS, MOST = 400, 40_000  # crops that are looked at, and squares that are learned from, at most
STEPS, RATE, DECAY = 150, 3e-3, 0.3  # few and much: there are thousands of values, and few pictures


def fit_probe(start: Checkpoint, data: Data, precision: Precision) -> nn.Module:
    """The network of `start` with a head on its coarser maps, for the classes of the training pictures."""
    net = build_network(start.network)
    net.load_state_dict(start.model)
    probe = make_probe(net, start.network.num_classes)
    probe.to(precision.device, memory_format=precision.memory_format).eval()
    values, classes = read_squares(probe, start, data, precision)
    fill_head(probe.head, values, classes)
    return probe


def read_squares(
    probe: nn.Module, start: Checkpoint, data: Data, precision: Precision
) -> tuple[Tensor, Tensor]:
    """(P, V) float32 and (P,) int64 of annotated squares: what the network makes of them, and the class."""
    letterboxed, normalise = start.fit == "letterbox", Normalisation(**start.normalisation)
    dataset = SegmentationDataset(
        data.folder,
        data.train,
        start.network.in_channels,
        crop=tuple(start.input_shape),
        crops_per_picture=VIEWS * (1 if letterboxed else data.crops_per_picture(start.input_shape)),
        # As pictures to label are: other views would only make a line harder to find.
        augmentation=STRENGTHS["none"],
        seed=start.settings["seed"],
        box=tuple(start.input_shape) if letterboxed else None,
        range_16bit=start.normalisation["range_16bit"],
    )
    rng = np.random.default_rng(dataset.seed)
    crops = rng.permutation(len(dataset))[:CROPS].tolist()
    each = -(-MOST // len(crops))
    values, classes = [], []
    for number in crops:
        image, mask = dataset[number]
        image = normalise(to_device(image[None], precision.device))
        with precision.autocast():
            seen = probe.values(image.contiguous(memory_format=precision.memory_format), SQUARE)[0]
        middles = mask[SQUARE // 2 :: SQUARE, SQUARE // 2 :: SQUARE][: seen.shape[1], : seen.shape[2]]
        known = torch.from_numpy(rng.permutation(np.flatnonzero(middles != IGNORE_INDEX))[:each])
        values.append(seen.flatten(1)[:, known.to(seen.device)].T)
        classes.append(middles.flatten()[known])
    return torch.cat(values), torch.cat(classes).long().to(precision.device)


def fill_head(head: nn.Conv2d, values: Tensor, classes: Tensor) -> None:
    """Fit the 1×1 convolution to values (P, V) and classes (P,): softmax regression, much decayed."""
    std, mean = torch.std_mean(values, dim=0)
    # A value that hardly changes tells nothing; its noise would count as much as the others' values.
    std = std.clamp(min=1e-4)
    scaled = (values - mean) / std
    weight = torch.zeros(head.out_channels, values.shape[1], device=values.device, requires_grad=True)
    bias = torch.zeros(head.out_channels, device=values.device, requires_grad=True)
    optimizer = torch.optim.AdamW([weight, bias], RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(F.linear(scaled, weight, bias), classes).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        head.weight.copy_((weight / std)[..., None, None])
        head.bias.copy_(bias - weight @ (mean / std))
