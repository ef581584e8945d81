"""Looks before classes: what pictures teach a network before it knows any class.

In another tone and with half of a crop painted over, it finds which of LOOKS looks each square has (groups
of colours and edges by k-means; Caron et al. 2018, DeepCluster; Hsu et al. 2021, HuBERT), and which picture
the crop is of (Dosovitskiy et al. 2014). From what it then makes of pictures a linear map tells classes
better than a network that has seen nothing but the few annotated ones, see `probing`.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import torch
import torch.nn.functional as F
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from utils.core.console import UserError, counted, progress
from utils.core.device import Precision
from utils.images.normalisation import Normalisation, to_device
from utils.models.checkpoint import Checkpoint
from utils.models.weights import build_network
from utils.training.augmentation import parse_augmentation
from utils.training.engine import make_optimizer, parameter_groups, update_average
from utils.training.mixed import Source
from utils.training.recipe import LEARNING_RATES, WEIGHT_DECAYS
from utils.training.samples import CACHE_BYTES, choose_workers, make_loader, widen
from utils.training.unlabelled import SEED, Crop, UnlabelledDataset
from utils.voc.folder import VocFolder

LOOKS = 64
SQUARE = 8  # pixels of a square that has a look
HOLE, HIDDEN = 16, 0.5  # pixels of a square that is painted over, and the share of the crop that is
CROPS = 32  # of a step
SIDES = {1: 160, 2: 96}  # of a crop, by the divisor of the size in which pictures are seen
SCALE = 0.4  # range of the sizes in which pictures are seen, see `Augmentation`
OUTPUTS = 1.0, 0.5, 0.25, 0.125  # weights of the network's outputs, the finest first
PICTURES = 0.5  # weight of telling pictures apart, beside looks
WARM_UP = 50  # steps
AVERAGED = 0.99  # of the averaged weights stay in each step
LEAST_STEPS = 1000  # fewer bring nothing
LEAST_DEPTH = 3  # of a network: there are maps to read classes off
RATE = LEARNING_RATES["muon"]


class LooksDataset(UnlabelledDataset):
    """A crop of `sources` as it is, in a stronger view, and the number of its picture."""

    def __getitem__(self, key: Crop) -> tuple[Tensor, Tensor, Tensor]:
        views = super().__getitem__(key)
        return views.weak, views.strong, torch.tensor(self._place(key)[1])


@dataclass(frozen=True)
class Looks:
    """What tells the look of a square. mean, std: (F,) of `describe`; centres: (LOOKS, F), scaled by them."""

    mean: Tensor
    std: Tensor
    centres: Tensor

    def of(self, images: Tensor) -> Tensor:
        """Normalised pictures (N, C, H, W) → (N, H / SQUARE, W / SQUARE) int64."""
        values = (describe(images).movedim(1, -1) - self.mean) / self.std
        return torch.cdist(values.flatten(0, 2), self.centres).argmin(1).view(values.shape[:3])


def describe(images: Tensor) -> Tensor:
    """(N, C, H, W) → (N, F, H / SQUARE, W / SQUARE): colours, their spread, edges, and colours around."""
    light = images.mean(1, keepdim=True)
    across, down = F.pad(light.diff(dim=-1).abs(), (0, 1)), F.pad(light.diff(dim=-2).abs(), (0, 0, 0, 1))
    means = F.avg_pool2d(images, SQUARE)
    spread = (F.avg_pool2d(images.square(), SQUARE) - means.square()).clamp(min=0).sqrt()
    edges = F.avg_pool2d(torch.cat([across, down], 1), SQUARE)
    around = F.avg_pool2d(means, 5, 1, 2, count_include_pad=False)
    return torch.cat([means, spread, edges, around], 1)


def find_looks(images: Tensor, seed: int) -> Looks:
    """Of normalised pictures (N, C, H, W)."""
    values = describe(images).movedim(1, -1).flatten(0, 2)
    std, mean = torch.std_mean(values, dim=0)
    std = std.clamp(min=1e-6)
    scaled = ((values - mean) / std).double().cpu().numpy()
    # Of squares that are equal, such as black ones, no two are the centres of empty groups then.
    scaled += 1e-3 * np.random.default_rng(seed).standard_normal(scaled.shape)
    centres, _ = kmeans2(scaled, LOOKS, minit="++", seed=seed)
    return Looks(mean, std, torch.from_numpy(centres).to(mean))


class Learner:
    """A network that learns looks, and its averaged weights, which are what it is for."""

    def __init__(self, net: nn.Module, pictures: int, precision: Precision):
        """net: has LOOKS classes; pictures: that it tells apart."""
        device, self.precision = precision.device, precision
        self.net = net.to(device, memory_format=precision.memory_format).train()
        self.pictures = nn.Linear(net.encoder.out_channels[-1], pictures).to(device)
        groups = [*parameter_groups(net, 1.0), {"params": list(self.pictures.parameters()), "factor": 1.0}]
        self.optimizer = make_optimizer("muon", groups, RATE, WEIGHT_DECAYS["muon"], 0.0, device)
        self.scaler, self.average, self.steps = precision.scaler(), AveragedModel(net), 0

    def step(self, images: Tensor, looks: Tensor, numbers: Tensor, progress: float) -> Tensor:
        """One step on normalised pictures (N, C, H, W). Returns the loss, a scalar on the device.

        looks: of their squares, (N, h, w); numbers: of the pictures that they are of, (N,); progress: share
        of the time that is over, by which the learning rate falls.
        """
        rate = RATE * min((self.steps + 1) / WARM_UP, 1) * (1 + math.cos(math.pi * min(progress, 1))) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        loss = self._loss(hide(images), looks, numbers)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        decay = min(AVERAGED, (1 + self.steps) / (10 + self.steps))
        update_average(self.average, self.net, decay)
        self.steps += 1
        return loss.detach()

    def time_step(self, images: Tensor, looks: Tensor, numbers: Tensor) -> float:
        """Seconds that a step takes. Raises torch.OutOfMemoryError if it does not fit on a GPU."""
        start = time.perf_counter()
        float(self.step(images, looks, numbers, 0.0))  # waits for it
        return time.perf_counter() - start

    def _loss(self, images: Tensor, looks: Tensor, numbers: Tensor) -> Tensor:
        net, size = self.net, looks.shape[1:]
        images = images.contiguous(memory_format=self.precision.memory_format)
        with self.precision.autocast():
            maps = net.encoder(images)
            *coarser, finest = net.decoder(maps)
            heads = zip((net.head, *net.side_heads), (finest, *reversed(coarser)), strict=False)
            outputs = [head(x) for head, x in heads]
        squares = [F.cross_entropy(F.adaptive_avg_pool2d(x.float(), size), looks) for x in outputs]
        told = F.cross_entropy(self.pictures(maps[-1].float().mean((2, 3))), numbers, label_smoothing=0.1)
        return sum(w * loss for w, loss in zip(OUTPUTS, squares, strict=False)) + PICTURES * told


def hide(images: Tensor) -> Tensor:
    """Pictures (N, C, H, W) with about HIDDEN of their squares painted over, in one colour in each."""
    count, channels, height, width = images.shape
    squares = torch.rand(count, 1, -(-height // HOLE), -(-width // HOLE), device=images.device) < HIDDEN
    hidden = squares.repeat_interleave(HOLE, 2).repeat_interleave(HOLE, 3)[..., :height, :width]
    return torch.where(hidden, torch.randn(count, channels, 1, 1, device=images.device), images)


def can_learn_looks(teacher: Checkpoint) -> bool:
    """Whether its network is new and deep: others start from weights, or have no maps to read classes off."""
    network = teacher.network
    return network.backbone == "plain" and network.deep_supervision and network.depth >= LEAST_DEPTH


def choose_divisor(teacher: Checkpoint, precision: Precision, seconds: float) -> int | None:
    """Of the size in which pictures are seen: the first of SIDES of which LEAST_STEPS fit in the time."""
    learner = Learner(build_network(replace(teacher.network, num_classes=LOOKS)), 1, precision)
    for divisor in SIDES:
        side = crop_side(teacher, divisor)
        images = torch.randn(CROPS, teacher.network.in_channels, side, side, device=precision.device)
        looks = torch.zeros(CROPS, side // SQUARE, side // SQUARE, dtype=torch.long, device=precision.device)
        try:
            took = min(learner.time_step(images, looks, looks[:, 0, 0]) for _ in range(3))
        except torch.OutOfMemoryError:
            continue
        if took * LEAST_STEPS <= seconds:
            return divisor
    return None


def crop_side(teacher: Checkpoint, divisor: int) -> int:
    """Of SIDES, rounded up to what the network halves evenly."""
    stride = 1 << teacher.network.depth
    return -(-SIDES[divisor] // stride) * stride


def learn_looks(
    teacher: Checkpoint,
    folder: VocFolder,
    sources: Sequence[Source],
    precision: Precision,
    seconds: float,
    divisor: int = 1,
    workers: int | None = None,
) -> Checkpoint:
    """The teacher's with other weights: those of a new network that learned looks, and new heads.

    sources: pictures, whose masks are not read; folder: of the annotated pictures. Raises UserError for a
    picture that cannot be read.
    """
    start, seed, device = time.perf_counter(), teacher.settings["seed"], precision.device
    torch.manual_seed(seed)
    network = build_network(replace(teacher.network, num_classes=LOOKS))
    learner = Learner(network, len(sources), precision)
    dataset = make_dataset(teacher, folder, sources, divisor)
    batches = load_batches(dataset, divisor, device, workers)
    normalise, looks = Normalisation(**teacher.normalisation), None
    print("\n== looks ==")
    for weak, strong, numbers in progress(batches, "learning looks", "step"):
        weak, strong = (normalise(to_device(part, device)) for part in (weak, strong))
        looks = looks or find_looks(weak, seed)
        spent = time.perf_counter() - start
        learner.step(strong, looks.of(weak), to_device(numbers, device), spent / seconds)
        if spent >= seconds:
            break
    pictures, steps = counted(len(sources), "picture"), counted(learner.steps, "step")
    print(f"looks    of {pictures}, learned in {steps} and {spent / 60:.1f} minutes")
    ready = build_network(teacher.network)
    known = learner.average.module.state_dict().items()
    ready.load_state_dict({k: v for k, v in known if "head" not in k}, strict=False)
    weights = {name: value.cpu() for name, value in ready.state_dict().items()}
    return replace(teacher, model=weights, scores={}, trained_on=[])


def make_dataset(
    teacher: Checkpoint, folder: VocFolder, sources: Sequence[Source], divisor: int
) -> LooksDataset:
    """Crops in the views of the teacher's training, and in other sizes."""
    settings, side = teacher.settings, divisor * crop_side(teacher, divisor)
    return LooksDataset(
        folder,
        [source.image.stem for source in sources],
        teacher.network.in_channels,
        crop=(side, side),
        augmentation=replace(parse_augmentation(settings["augmentation"]), scale=SCALE, balance=0.0),
        seed=settings["seed"] + SEED,
        box=tuple(teacher.input_shape) if teacher.fit == "letterbox" else None,
        range_16bit=teacher.normalisation["range_16bit"],
        sources=[Source(source.image) for source in sources],
    )


def load_batches(
    dataset: LooksDataset, divisor: int, device: torch.device, workers: int | None
) -> DataLoader:
    """Endless batches: (N, C, h, w) as they are and in a stronger view, and (N,) int64."""
    workers = choose_workers(device) if workers is None else workers
    dataset = replace(dataset, cache_bytes=CACHE_BYTES // max(workers, 1))
    keys = ([Crop(number * CROPS + place, divisor) for place in range(CROPS)] for number in count())
    return make_loader(dataset, keys, workers, device, stack)


def stack(samples: "list[tuple[Tensor, ...]] | UserError") -> "tuple[Tensor, ...] | UserError":
    """Those of a batch. A UserError passes through."""
    if isinstance(samples, UserError):
        return samples
    weak, strong, numbers = zip(*samples, strict=True)
    return torch.stack(widen(weak)), torch.stack(widen(strong)), torch.stack(numbers)
