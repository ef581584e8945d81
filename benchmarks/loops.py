"""The loops that are compared, with one interface: train batches, predict a picture, validate pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

import numpy as np
import plain_loop
import torch
from measuring import timed
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from nets.config import NetworkConfig
from nets.unet import build
from unet import Unet
from utils.core.device import choose_precision, set_determinism
from utils.core.heap import return_freed_memory
from utils.images.normalisation import Normalisation
from utils.images.palette import voc_palette
from utils.models.checkpoint import Checkpoint, save_checkpoint
from utils.training.augmentation import parse_augmentation
from utils.training.batches import EpochBatches
from utils.training.engine import Trainer, evaluate, make_optimizer, train_one_epoch
from utils.training.losses import criterion
from utils.training.samples import SegmentationDataset, choose_workers, make_loader
from utils.training.schedule import Phase, Schedule
from utils.voc.folder import VocFolder

NETWORKS = {
    "plain, 16 channels (the default)": {"base_channels": 16},
    "plain, 64": {"base_channels": 64},
    "vgg": {"backbone": "vgg"},
    "resnet50": {"backbone": "resnet50"},
    "tiny": {"base_channels": 4, "depth": 2},
}
# The same encoders in segmentation-models-pytorch, which has none like the plain one.
SMP_ENCODERS = {"vgg": "vgg16", "resnet50": "resnet50"}
NORMALISATION = {"mean": [0.3] * 3, "std": [0.2] * 3, "range_16bit": None}


@dataclass(frozen=True)
class Cost:
    """Seconds per picture; warm_up: of the first block of steps; peak: bytes; rate: FLOP per second."""

    precision: str
    train: float
    predict: float
    validate: float
    warm_up: float
    peak: int
    rate: float


class PlainLoop:
    """plain_loop.py on our network. Pictures are those of `folder`, all of (size, size)."""

    label, precision = "plain loop", "float32"

    def __init__(self, network: str, folder: VocFolder, size: int, device: torch.device):
        torch.backends.cudnn.benchmark = True
        self.folder, self.size, self.device = folder, size, device
        self.class_names = folder.read_class_names()
        self.net = self.make_net(network, len(self.class_names)).to(device)
        self.optimizer = plain_loop.make_optimizer(self.net)

    @staticmethod
    def make_net(network: str, num_classes: int) -> nn.Module:
        return build(NetworkConfig(num_classes, 3, **NETWORKS[network]))

    def train(self, names: Sequence[str], batch_size: int, block: int = 1) -> list[float]:
        """One epoch over these pictures: seconds per step, loading included, of every `block` steps."""
        seconds: list[float] = []
        dataset = plain_loop.PlainDataset(self.folder, names, len(self.class_names))
        batches = timed(plain_loop.make_loader(dataset, batch_size, self.device), seconds, self.device, block)
        plain_loop.train_one_epoch(self.net, self.optimizer, batches, self.device)
        return seconds

    def prepare(self) -> None:
        """From training to predicting."""
        self.net.eval()

    def open(self, name: str) -> Image.Image:
        """A picture in memory, as `predict` takes it."""
        picture = Image.open(self.folder.image_path(name))
        picture.load()
        return picture

    def predict(self, picture: Image.Image) -> np.ndarray:
        return plain_loop.predict(self.net, picture, self.device)

    def validate(self, names: Sequence[str], batch_size: int) -> np.ndarray:
        """Confusion matrix of these pictures."""
        return plain_loop.validate(self.net, self.folder, names, len(self.class_names), self.device)


class SmpLoop(PlainLoop):
    """segmentation-models-pytorch's Unet with that encoder, in the float32 loop of its manual (Dice loss)."""

    label = "segmentation-models-pytorch"

    @staticmethod
    def make_net(network: str, num_classes: int) -> nn.Module:
        import segmentation_models_pytorch as smp

        return smp.Unet(SMP_ENCODERS[network], encoder_weights=None, in_channels=3, classes=num_classes)

    def train(self, names: Sequence[str], batch_size: int, block: int = 1) -> list[float]:
        from segmentation_models_pytorch.losses import DiceLoss

        seconds: list[float] = []
        dice_loss = DiceLoss("multiclass", from_logits=True)
        dataset = IndexDataset(self.folder, names, len(self.class_names))
        loader = plain_loop.make_loader(dataset, batch_size, self.device)
        self.net.train()
        for images, masks in timed(loader, seconds, self.device, block):
            loss = dice_loss(self.net(images.to(self.device)), masks.to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return seconds


class IndexDataset(plain_loop.PlainDataset):
    """Class indices alone, without the one-hot target."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        picture, classes = self.read(index)
        return picture, torch.from_numpy(classes).long()


class OurLoop:
    """Trainer, evaluate and Unet, put together as train.py and predict.py do."""

    label = "ours"

    def __init__(
        self, network: str, folder: VocFolder, size: int, device: torch.device, save_memory: bool = False
    ):
        set_determinism(False)
        self.folder, self.size, self.device = folder, size, device
        self.class_names = folder.read_class_names()
        self.network = NetworkConfig(len(self.class_names), 3, **NETWORKS[network])
        precision = choose_precision("auto", device)
        net = build(self.network).to(device, memory_format=precision.memory_format)
        if save_memory:
            net.save_memory()
            return_freed_memory()
        self.precision = str(precision).split()[0]
        groups = [{"params": list(net.parameters()), "factor": 1.0}]
        optimizer = make_optimizer("adamw", groups, 1e-3, 1e-2, 0.9, device)
        schedule = Schedule([Phase(epochs=1000, batch_size=1, lr=1e-3)], crops=1)
        normalise = Normalisation(**NORMALISATION)
        self.trainer = Trainer(net, optimizer, schedule, normalise, precision, save_memory)
        self.val_set: SegmentationDataset | None = None

    def train(self, names: Sequence[str], batch_size: int, block: int = 1) -> list[float]:
        seconds: list[float] = []
        loader = our_loader(self.folder, names, self.size, "default", batch_size, self.device)
        train_one_epoch(self.trainer, timed(loader, seconds, self.device, block), criterion, 0)
        return seconds

    def prepare(self) -> None:
        """The weights go through a file, as they do between train.py and predict.py."""
        checkpoint = Checkpoint(
            model=self.trainer.average.module.state_dict(),
            network=self.network,
            class_names=self.class_names,
            palette=voc_palette(len(self.class_names)).tolist(),
            normalisation=NORMALISATION,
            input_shape=(self.size, self.size),
        )
        with TemporaryDirectory() as directory:
            save_checkpoint(Path(directory) / "best.pth", checkpoint)
            self.unet = Unet(Path(directory) / "best.pth", str(self.device))

    def open(self, name: str) -> np.ndarray:
        return np.array(Image.open(self.folder.image_path(name)))

    def predict(self, picture: np.ndarray) -> np.ndarray:
        return self.unet.predict(picture)

    def validate(self, names: Sequence[str], batch_size: int) -> np.ndarray:
        # One data set for all epochs, so that its pictures stay decoded, as in a run.
        self.val_set = self.val_set or SegmentationDataset(self.folder, names, 3)
        batches = np.array_split(range(len(names)), -(-len(names) // batch_size))
        loader = make_loader(self.val_set, batches, 0, self.device)
        return evaluate(self.unet.logits, loader, criterion, len(self.class_names), self.device)[1].matrix


class CompiledLoop(OurLoop):
    """Ours through torch.compile."""

    label = "ours, compiled"

    def train(self, names: Sequence[str], batch_size: int, block: int = 1) -> list[float]:
        loader = our_loader(self.folder, names, self.size, "default", batch_size, self.device)
        compilation = self.trainer.compile([batch_size], next(iter(loader)), criterion)
        warm_up, *seconds = super().train(names, batch_size, block)
        return [warm_up + compilation / block, *seconds]

    def prepare(self) -> None:
        super().prepare()
        self.unet.compile(after=0)


LOOPS = {"plain": PlainLoop, "ours": OurLoop, "compiled": CompiledLoop, "smp": SmpLoop}


def our_loader(
    folder: VocFolder,
    names: Sequence[str],
    size: int,
    augmentation: str,
    batch_size: int,
    device: torch.device,
    workers: int | None = None,
) -> DataLoader:
    """Crops of (size, size) as train.py makes them; workers None: as many as it would choose."""
    workers = choose_workers(device) if workers is None else workers
    parts = parse_augmentation(augmentation)
    dataset = SegmentationDataset(folder, names, 3, crop=(size, size), augmentation=parts)
    return make_loader(dataset, EpochBatches(len(dataset), batch_size, 0), workers, device)


def missing(loop: str, network: str, device: torch.device) -> str | None:
    """Why there can be no such row here; None if there can."""
    if loop == "smp" and network not in SMP_ENCODERS:
        return "segmentation-models-pytorch has no such network"
    if loop == "smp" and not find_spec("segmentation_models_pytorch"):
        return "pip install segmentation-models-pytorch to compare with it"
    if loop == "compiled" and device.type == "cpu" and not any(map(which, ("g++", "clang++", "cl"))):
        return "torch.compile needs a C++ compiler"
    if loop == "compiled" and device.type == "cuda" and not find_spec("triton"):
        return "torch.compile needs Triton"
    return None
