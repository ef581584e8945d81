"""Train a U-Net on a VOC folder. Edit the defaults below, or pass the same names as flags: python train.py --epochs 100"""

import json
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from nets.unet import UNet, build
from unet import Unet
from utils.augment import STRENGTHS
from utils.checkpoint import Checkpoint, config_to_dict, load_checkpoint, save_checkpoint
from utils.console import UserError, progress, quoted, run_script, warn
from utils.dataset import Data, EpochBatches, SegmentationDataset, load_data, make_loader, same_size_batches
from utils.demo import make_demo
from utils.engine import choose_device, choose_precision, evaluate, train_one_epoch
from utils.history import History, Row
from utils.losses import criterion
from utils.metrics import Scores
from utils.palette import voc_palette
from utils.plots import draw_samples
from utils.schedule import lr_factor
from utils.voc import VocFolder

DEMO = Path("VOCdevkit/demo")


@dataclass
class Config:
    """Settings of a run."""

    # Data
    voc_root: Path = DEMO  # VOC folder; for your own data: Path("VOCdevkit/VOC2007")
    num_classes: int | None = None  # need not be set: the data know their classes; if set, it is checked
    input_shape: tuple[int, int] = (512, 512)  # height and width of the training crops; at most the largest picture
    in_channels: Literal[1, 3] = 3  # 3: RGB, 1: gray
    augmentation: Literal["none", "light", "default", "strong"] = "default"  # how strongly pictures are varied
    # Network
    base_channels: int = 32  # width of the first level; doubled at every level; 64 in the paper
    depth: int = 4  # number of times the resolution is halved
    # Where to start
    model_path: Path | None = None  # checkpoint whose weights to start from (fine-tuning)
    resume: Path | None = None  # last.pth of a run to go on with, in the same folder and with the same settings
    # Optimisation
    epochs: int = 40  # passes over the training pictures
    batch_size: int = 4  # crops a step
    lr: float = 2e-3  # highest learning rate (AdamW), after a warm-up and before the cosine decay
    weight_decay: float = 1e-2  # AdamW's decay of the weights
    dice_weight: float = 1.0  # weight of the Dice loss beside cross-entropy; 0: cross-entropy alone
    # Machine
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # number format; auto: the fastest that is safe
    num_workers: int | None = None  # processes that load pictures; None: chosen by the machine, 0: none
    seed: int = 0  # same seed, same data order, same crops, same initial weights
    # Output
    save_dir: Path = Path("logs")  # folder of all runs
    run_name: str | None = None  # folder of this run in it; None: date and time


def main(config: Config) -> None:
    """Train, validate after every epoch, and leave a run folder with checkpoints, log and pictures."""
    check_config(config)
    torch.manual_seed(config.seed)
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    data = read_data(config)
    net, checkpoint = make_network(config, data)
    unet = Unet.from_network(net, checkpoint, precision)
    optimizer = torch.optim.AdamW(
        net.parameters(), config.lr, weight_decay=config.weight_decay, fused=device.type != "mps"
    )
    scaler = precision.scaler()
    run_dir, done, best = start_run(config, checkpoint, net, optimizer, scaler)
    batches, train_loader, val_loader = make_loaders(config, data, checkpoint.input_shape, device)
    print_plan(config, data, unet, batches, run_dir)
    draw_samples(run_dir / "train_batch.png", batches.preview(train_loader.dataset), columns=4)

    def loss_of(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        return criterion(logits, masks, config.dice_weight)

    total_steps = config.epochs * len(batches)

    def set_lr(step: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = config.lr * lr_factor(step, total_steps, warmup_steps=min(total_steps // 20, 500))

    history, board = History(run_dir / "history.csv", done), SummaryWriter(str(run_dir))
    step, drawn = done * len(batches), time.perf_counter()
    for epoch in range(done + 1, config.epochs + 1):
        start, batches.epoch = time.perf_counter(), epoch - 1
        bar = progress(train_loader, f"epoch {epoch}/{config.epochs}", "batch")
        train_loss, step = train_one_epoch(
            net, bar, unet.normalisation, loss_of, optimizer, scaler, precision, set_lr, step
        )
        images_per_second = batches.length / (time.perf_counter() - start)
        val_loss, scores = evaluate(unet.logits, val_loader, loss_of, unet.num_classes, device)
        seconds = time.perf_counter() - start
        lr = optimizer.param_groups[0]["lr"]
        history.add(Row(epoch, lr, train_loss, val_loss, scores.miou, seconds, images_per_second))
        log_to_board(board, history.rows[-1])
        improved = best != best or scores.miou > best
        best = scores.miou if improved else best
        checkpoint.scores = {"epoch": epoch, "miou": scores.miou, "val_loss": val_loss, "accuracy": scores.accuracy}
        save_run(run_dir, checkpoint, net, improved, training_state(epoch, best, optimizer, scaler))
        print(f"epoch {epoch:4d}  loss {train_loss:.4f}  val_loss {val_loss:.4f}  mIoU {scores.miou:.4f}"
              f"{' *' if improved else '  '}  {seconds:5.1f} s")  # fmt: skip
        if epoch == config.epochs or time.perf_counter() - drawn > 15:
            draw_run(run_dir, history, unet, data)
            drawn = time.perf_counter()
    board.close()
    print_result(config, run_dir, history, scores, data)


def check_config(config: Config) -> None:
    """Raises UserError for a number that cannot work, before anything is read."""
    for name in ("epochs", "batch_size", "base_channels", "depth"):
        if getattr(config, name) < 1:
            raise UserError(
                f"--{name.replace('_', '-')}", str(getattr(config, name)), "1 or more", "choose another value"
            )
    if min(config.input_shape) < 1 or config.lr <= 0:
        found = f"--input-shape {config.input_shape}, --lr {config.lr}"
        raise UserError("settings", found, "numbers above 0", "choose other values")


def read_data(config: Config) -> Data:
    """The checked data set; the demo set is drawn when it is asked for and not there."""
    if config.voc_root == DEMO and not DEMO.exists():
        print(f"drawing the demo set into {DEMO}")
        make_demo(DEMO)
    data = load_data(VocFolder(config.voc_root), config.in_channels)
    if config.num_classes not in (None, len(data.class_names)):
        raise UserError(
            f"--num-classes {config.num_classes}",
            f"{config.voc_root} has {len(data.class_names)} classes: {', '.join(data.class_names)}",
            f"{len(data.class_names)}, the background counted",
            f"leave --num-classes out, or correct {data.folder.class_names_path}",
        )
    return data


def make_network(config: Config, data: Data) -> tuple[UNet, Checkpoint]:
    """A network, fresh or from `model_path`, and the checkpoint that describes it (its weights still to be filled in)."""
    num_classes = len(data.class_names)
    arguments: dict[str, Any] = {
        "num_classes": num_classes,
        "in_channels": config.in_channels,
        "base_channels": config.base_channels,
        "depth": config.depth,
    }
    start = load_checkpoint(config.model_path) if config.model_path else None
    if start:
        arguments = {**start.network, "num_classes": num_classes, "in_channels": config.in_channels}
    net = build(**arguments)
    if start:
        load_matching(net, start, config.model_path)
    checkpoint = Checkpoint(
        model={},
        network=arguments,
        class_names=data.class_names,
        palette=voc_palette(num_classes).tolist(),
        normalisation=data.normalisation.to_dict(),
        input_shape=data.fit_crop(config.input_shape, net.stride),
        settings=config_to_dict(config),
    )
    return net, checkpoint


def load_matching(net: UNet, start: Checkpoint, path: Path) -> None:
    """Take over every weight of the same name and shape, and say which layers start afresh."""
    own = net.state_dict()
    fits = {key: value for key, value in start.model.items() if key in own and own[key].shape == value.shape}
    net.load_state_dict(fits, strict=False)
    fresh = sorted(own.keys() - fits.keys())
    print(f"weights  {len(fits)} of {len(own)} tensors from {path}")
    if fresh:
        warn(
            f"these do not fit ({start.network['num_classes']} classes there) and start afresh: {', '.join(fresh[:10])}"
        )


def make_loaders(
    config: Config, data: Data, crop: tuple[int, int], device: torch.device
) -> tuple[EpochBatches, DataLoader, DataLoader]:
    """Loaders of random crops (an epoch sees about every pixel once) and of whole validation pictures."""
    workers = config.num_workers
    if workers is None:
        # On a CPU the network itself keeps every core busy; a worker would only take turns with it.
        workers = min(torch.get_num_threads(), 8) if device.type == "cuda" else 0
    train = SegmentationDataset(
        data.folder,
        data.train,
        config.in_channels,
        crop=crop,
        crops_per_picture=data.crops_per_picture(crop),
        augmentation=STRENGTHS[config.augmentation],
        seed=config.seed,
    )
    val = SegmentationDataset(data.folder, data.val, config.in_channels)
    batches = EpochBatches(len(train), config.batch_size, config.seed)
    val_batches = same_size_batches(data.val_sizes, config.batch_size * crop[0] * crop[1])
    return batches, make_loader(train, batches, workers, device), make_loader(val, val_batches, workers, device)


def start_run(
    config: Config, checkpoint: Checkpoint, net: UNet, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> tuple[Path, int, float]:
    """The run's folder, the number of epochs already done and the best mIoU so far (NaN: none)."""
    if config.resume:
        last = load_checkpoint(config.resume)
        if not last.training or last.network != checkpoint.network or last.class_names != checkpoint.class_names:
            raise UserError(
                config.resume,
                f"network {last.network}, classes {last.class_names}"
                if last.training
                else "weights without training state",
                f"the last.pth of a run with network {checkpoint.network} and classes {checkpoint.class_names}",
                "resume with the settings of that run (config.json beside it), or start from its weights by --model-path",
            )
        if last.training["epoch"] >= config.epochs:
            raise UserError(
                config.resume,
                f"a run that has done its {last.training['epoch']} epochs",
                "epochs left to do",
                "raise --epochs",
            )
        net.load_state_dict(last.model)
        optimizer.load_state_dict(last.training["optimizer"])
        scaler.load_state_dict(last.training["scaler"])
        return config.resume.parent, last.training["epoch"], last.training["best"]
    run_dir = config.save_dir / (config.run_name or datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))
    if (run_dir / "last.pth").exists():
        raise UserError(
            run_dir,
            "a run of this name",
            "a new name",
            f"choose another --run-name, or go on with that run: --resume {run_dir / 'last.pth'}",
        )
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / "config.json").write_text(
            json.dumps(checkpoint.settings, indent=2, ensure_ascii=False), encoding="utf-8"
        )
    except OSError as error:
        raise UserError(
            run_dir,
            f"it cannot be written ({error.strerror})",
            "a folder that you may write to",
            "choose another --save-dir",
        ) from None
    return run_dir, 0, float("nan")


def training_state(
    epoch: int, best: float, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> dict[str, Any]:
    """What last.pth holds beyond best.pth."""
    return {"epoch": epoch, "best": best, "optimizer": optimizer.state_dict(), "scaler": scaler.state_dict()}


def save_run(run_dir: Path, checkpoint: Checkpoint, net: UNet, improved: bool, training: dict[str, Any]) -> None:
    """last.pth with the training state; best.pth, weights and metadata only, when the score has improved."""
    checkpoint.model = {key: value.contiguous() for key, value in net.state_dict().items()}
    checkpoint.training = None
    if improved:
        save_checkpoint(run_dir / "best.pth", checkpoint)
    checkpoint.training = training
    save_checkpoint(run_dir / "last.pth", checkpoint)


def draw_run(run_dir: Path, history: History, unet: Unet, data: Data) -> None:
    """Curves, and the first validation pictures beside their truth and their prediction."""
    history.draw()
    pairs = [data.read_pair(name) for name in data.val[:4]]
    rows = [row for image, mask in pairs for row in ((image, None), (image, mask), (image, unet.predict(image)))]
    draw_samples(run_dir / "val_epoch.png", rows, columns=3)


def log_to_board(board: SummaryWriter, row: Row) -> None:
    board.add_scalars("loss", {"training": row.train_loss, "validation": row.val_loss}, row.epoch)
    board.add_scalar("mIoU", row.miou, row.epoch)
    board.add_scalar("learning rate", row.lr, row.epoch)


def print_plan(config: Config, data: Data, unet: Unet, batches: EpochBatches, run_dir: Path) -> None:
    """What is about to happen, in four lines."""
    parameters = sum(p.numel() for p in unet.net.parameters())
    height, width = unet.input_shape
    print(f"data     {config.voc_root}: {len(data.train)} pictures to train, {len(data.val)} to validate; "
          f"classes: {', '.join(data.class_names)}")  # fmt: skip
    print(f"network  plain U-Net, {parameters / 1e6:.2f} M parameters, {unet.precision}")
    print(
        f"plan     {config.epochs} epochs of {len(batches)} steps, {config.batch_size} crops of {height}×{width} each"
    )
    print(f"run      {run_dir}")


def print_result(config: Config, run_dir: Path, history: History, scores: Scores, data: Data) -> None:
    """Where everything is, what looks wrong, and what to do next."""
    for name, iou, recall in zip(data.class_names, scores.iou, scores.recall, strict=True):
        if recall == 0:
            warn(
                f"class {name} is in the validation masks but was never found (IoU {iou:.2f}): train longer, or check masks"
            )
    best = max(history.rows, key=lambda row: row.miou)
    seconds = sum(row.seconds for row in history.rows)
    print(f"\nbest mIoU {best.miou:.4f} in epoch {best.epoch}; {seconds:.0f} s for {len(history.rows)} epochs")
    print(f"checkpoint  {run_dir / 'best.pth'}")
    print(f"pictures    {run_dir / 'train_batch.png'}, val_epoch.png, loss.png, miou.png")
    print("next        score it, then look at a picture:")
    weights, picture = quoted(run_dir / "best.pth"), quoted(data.folder.image_path(data.val[0]))
    print(f"  python get_miou.py --model-path {weights} --voc-root {quoted(config.voc_root)}")
    print(f"  python predict.py --model-path {weights} --input {picture}")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
