"""The reference that ours is measured against: a training loop as the best-known repositories write it.

Whole pictures decoded by PIL at every visit, flips only, a one-hot target beside every mask, cross-entropy
+ Dice, Adam, float32 in PyTorch's default layout; validation predicts picture by picture into PNG files,
reads them back and counts. After bubbliiiing/unet-pytorch (data, loss, validation) and
milesial/Pytorch-UNet, written anew. What would only cost it time is left out: their score of every training
batch and their second pass over the validation pictures for a loss. It takes any network of pictures (N, C,
H, W) → logits (N, K, H, W), so that a ratio compares loops and not networks.
"""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from utils.voc.folder import VocFolder


class PlainDataset(Dataset):
    """Picture (C, H, W) float32 in 0…1, mask (H, W) int64, one-hot target (H, W, K + 1) float32.

    Class K takes the ignored pixels. mode: PIL's, "RGB" or "L". Smaller pictures get gray bars, of class K,
    up to the size of the largest.
    """

    def __init__(self, folder: VocFolder, names: Sequence[str], num_classes: int, mode: str = "RGB"):
        self.folder, self.names, self.num_classes, self.mode = folder, list(names), num_classes, mode
        sizes = [Image.open(folder.image_path(name)).size for name in names]
        self.box = tuple(max(sides) for sides in zip(*sizes, strict=True))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        picture, classes = self.read(index)
        classes = np.minimum(classes, self.num_classes)
        one_hot = np.eye(self.num_classes + 1)[classes]
        return picture, torch.from_numpy(classes).long(), torch.from_numpy(one_hot).float()

    def read(self, index: int) -> tuple[Tensor, np.ndarray]:
        """Picture (C, H, W) float32 and mask (H, W) uint8, flipped at random."""
        name = self.names[index]
        picture = Image.open(self.folder.image_path(name)).convert(self.mode)
        mask = Image.open(self.folder.mask_path(name))
        gray = (128,) * len(picture.getbands())
        picture, mask = self.fit(picture, gray), self.fit(mask, self.num_classes)
        for flip in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM):
            if torch.rand(()) < 0.5:
                picture, mask = picture.transpose(flip), mask.transpose(flip)
        return to_input(picture), np.array(mask)

    def fit(self, picture: Image.Image, filling: tuple[int, ...] | int) -> Image.Image:
        if picture.size == self.box:
            return picture
        canvas = Image.new(picture.mode, self.box, filling)
        canvas.paste(picture, ((self.box[0] - picture.width) // 2, (self.box[1] - picture.height) // 2))
        return canvas


def to_input(picture: Image.Image) -> Tensor:
    """(C, H, W) float32 in 0…1, contiguous."""
    array = np.array(picture, np.float64) / 255.0
    return torch.from_numpy(np.ascontiguousarray(np.atleast_3d(array).transpose(2, 0, 1))).float()


def make_loader(dataset: Dataset, batch_size: int, device: torch.device) -> DataLoader:
    """Four workers beside a GPU; on a CPU they would only take the network's cores."""
    on_gpu = device.type == "cuda"
    workers, whole = 4 if on_gpu else 0, len(dataset) >= batch_size
    return DataLoader(
        dataset, batch_size, shuffle=True, num_workers=workers, pin_memory=on_gpu, drop_last=whole
    )


def make_optimizer(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(net.parameters(), lr=1e-4)


def one_hot_loss(logits: Tensor, masks: Tensor, one_hot: Tensor) -> Tensor:
    """Cross-entropy + Dice. logits (N, K, H, W); masks (N, H, W), K ignored; one_hot (N, H, W, K + 1)."""
    return cross_entropy(logits, masks) + dice_loss(logits, one_hot)


def cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    classes = logits.shape[1]
    rows = logits.permute(0, 2, 3, 1).contiguous().view(-1, classes)
    return F.cross_entropy(rows, masks.view(-1), ignore_index=classes)


def dice_loss(logits: Tensor, one_hot: Tensor, smooth: float = 1e-5) -> Tensor:
    """1 − mean over classes of 2·hits / (predicted + true); predictions on ignored pixels count as wrong."""
    probabilities = logits.permute(0, 2, 3, 1).contiguous().softmax(dim=-1)
    target = one_hot[..., :-1]
    hits = (target * probabilities).sum(dim=(0, 1, 2))
    false_positives = probabilities.sum(dim=(0, 1, 2)) - hits
    false_negatives = target.sum(dim=(0, 1, 2)) - hits
    return 1 - ((2 * hits + smooth) / (2 * hits + false_negatives + false_positives + smooth)).mean()


def train_one_epoch(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, ...]],
    device: torch.device,
) -> float:
    """Train on every batch of (pictures, masks, one-hot targets); returns the mean loss."""
    net.train()
    losses = []
    for batch in batches:
        images, masks, one_hot = (part.to(device) for part in batch)
        optimizer.zero_grad()
        loss = one_hot_loss(net(images), masks, one_hot)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


@torch.no_grad()
def predict(net: nn.Module, picture: Image.Image, device: torch.device, mode: str = "RGB") -> np.ndarray:
    """Class indices (H, W) uint8: probabilities of all classes go to the host, which takes the arg-max."""
    logits = net(to_input(picture.convert(mode)).unsqueeze(0).to(device))[0]
    return logits.permute(1, 2, 0).softmax(dim=-1).cpu().numpy().argmax(axis=-1).astype(np.uint8)


def validate(
    net: nn.Module,
    folder: VocFolder,
    names: Sequence[str],
    num_classes: int,
    device: torch.device,
    mode: str = "RGB",
) -> np.ndarray:
    """Confusion matrix (K, K) int64, rows truth: predict all into PNG files, read them back, count."""
    net.eval()
    with tempfile.TemporaryDirectory() as directory:
        for name in names:
            mask = predict(net, Image.open(folder.image_path(name)), device, mode)
            Image.fromarray(mask).save(Path(directory) / f"{name}.png")
        counts = np.zeros((num_classes, num_classes), np.int64)
        for name in names:
            prediction = np.array(Image.open(Path(directory) / f"{name}.png"))
            counts += count_pixels(np.array(Image.open(folder.mask_path(name))), prediction, num_classes)
    return counts


def count_pixels(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Confusion matrix (K, K) int64 of two masks; pixels whose truth is no class are left out."""
    known = truth < num_classes
    pairs = num_classes * truth[known].astype(np.int64) + prediction[known]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
