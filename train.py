"""Train a U-Net on a VOC folder. Edit the defaults below, or pass the same names as flags: python train.py --epochs 100"""

import atexit
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import torch
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tyro.conf import OmitArgPrefixes

from nets.config import NetworkConfig
from nets.unet import UNet, build, crop_centre
from unet import Unet
from utils.core.console import UserError, counted, note, progress, quoted, run_script, warn
from utils.core.device import Precision, choose_device, choose_precision, set_determinism
from utils.core.heap import return_freed_memory
from utils.images.normalisation import Normalisation
from utils.images.palette import voc_palette
from utils.images.plots import draw_samples
from utils.models.checkpoint import Checkpoint, config_to_dict, load_checkpoint
from utils.models.weights import check_backbone, load_matching, load_pretrained, read_model
from utils.scoring.confusion import Scores
from utils.training.augmentation import parse_augmentation
from utils.training.border_weights import BorderWeights
from utils.training.data import Data, load_data
from utils.training.engine import Epoch, Trainer, evaluate, make_optimizer, train_one_epoch
from utils.training.history import History, Row
from utils.training.losses import Loss, balanced_class_weights, criterion
from utils.training.recipe import LARGE_STEP, plan_crops
from utils.training.run_folder import (
    Pictures,
    log_to_board,
    resume_run,
    save_run,
    start_run,
    telling_how_to_go_on,
)
from utils.training.samples import (
    CACHE_BYTES,
    EpochBatches,
    SegmentationDataset,
    choose_workers,
    make_loader,
    same_size_batches,
)
from utils.training.schedule import Phase, Schedule, TimeBudget
from utils.voc.demo import make_demo
from utils.voc.folder import VocFolder
from utils.voc.scaling import widest_range

DEMO = Path("VOCdevkit/demo")
LEARNING_RATES = {"adamw": 2e-3, "adam": 2e-3, "sgd": 5e-2}
WEIGHT_DECAYS = {"adamw": 1e-2, "adam": 0.0, "sgd": 1e-4}


@dataclass
class Config:
    """Settings of a run."""

    # Data
    voc_root: Path = DEMO  # VOC folder; for your own data: Path("VOCdevkit/VOC2007")
    fold: int | None = (
        None  # train on foldK_train.txt, validate on foldK_val.txt, which voc2unet.py --folds writes
    )
    input_shape: tuple[int, int] | None = (
        None  # height and width of the training crops; None: by the pictures
    )
    fit: Literal["crop", "letterbox"] = "crop"  # native resolution, or whole pictures scaled to input_shape
    augmentation: str = "default"  # none, light, default, strong; or with parts: default,rotate=180,elastic=0
    # Network
    network: OmitArgPrefixes[NetworkConfig] = field(default_factory=NetworkConfig)
    pretrained: bool = True  # other backbones than plain start from ImageNet weights, downloaded if need be
    # Where to start
    model_path: Path | None = (
        None  # weights to start from (fine-tuning): a checkpoint of ours or of a known repository
    )
    resume: Path | None = (
        None  # last.pth of a run to go on with, in the same folder and with the same settings
    )
    # Optimisation
    epochs: int = 50  # passes over the training pictures, the frozen ones counted
    batch_size: int | None = None  # crops a step; None: by the number and the sizes of the pictures
    max_minutes: float | None = (
        None  # train for this long instead of for `epochs`; the learning rate is fitted to it
    )
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"  # sgd: with Nesterov's momentum
    lr: float | None = None  # highest learning rate; None: 0.002, for sgd 0.05
    curve: Literal["cosine", "one_cycle", "step"] = "cosine"  # how the learning rate rises and falls
    encoder_lr_factor: float = 1.0  # the encoder's learning rate as a share of lr
    weight_decay: float | None = None  # None: 0.01 for adamw, 0 for adam, 0.0001 for sgd
    momentum: float = 0.9  # of sgd; 0.99 in the paper
    dice_weight: float = 1.0  # weight of the Dice loss beside cross-entropy; 0: cross-entropy alone
    dice_smooth: float = 1.0  # added to both sides of the Dice's ratio, in pixels
    dice_beta: float = 1.0  # of the Dice loss; above 1, missed pixels cost more than pixels too many
    focal_gamma: float = 0.0  # above 0, pixels that are right already count less (focal loss; 2 in its paper)
    class_weights: Literal["none", "balanced"] | tuple[float, ...] = (
        "none"  # balanced: rare classes more; or numbers
    )
    border_weight: float = (
        0.0  # extra weight of pixels between touching objects (w0; 10 in the paper; 0: off)
    )
    border_sigma: float = 5.0  # how far it reaches, in pixels
    freeze_epochs: int = 0  # first epochs in which the encoder is held still
    freeze_batch_size: int | None = None  # crops a step in these; None: twice those of the others
    freeze_lr: float | None = None  # highest learning rate in these; None: that of the others
    # Machine
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    precision: Literal["auto", "fp32", "bf16", "fp16"] = (
        "auto"  # number format; auto: the fastest that is safe
    )
    compile: bool = (
        False  # torch.compile: a slow start, which --max-minutes counts, then faster steps on some machines
    )
    deterministic: bool = False  # the same run to the last bit every time; slower on a GPU
    save_memory: bool = False  # keep fewer maps for the backward pass: less memory, on a CPU twice the time
    num_workers: int | None = None  # processes that load pictures; None: chosen by the machine, 0: none
    seed: int = 0  # same seed, same data order, same crops, same initial weights
    # Output
    save_dir: Path = Path("logs")  # folder of all runs
    run_name: str | None = None  # folder of this run in it; None: date and time


def main(config: Config) -> None:
    """Train, validate after every epoch, and leave a run folder with checkpoints, log and pictures."""
    started = time.perf_counter()
    check_config(config)
    set_determinism(config.deterministic)
    torch.manual_seed(config.seed)
    precision = choose_precision(config.precision, choose_device(config.device))
    data = read_data(config)
    asked, config = config.input_shape, fill_in(config, data)
    net, checkpoint = make_network(config, data)
    train_set, batches, train_loader, val_loader = make_loaders(
        config, data, checkpoint, net.margin, precision.device
    )
    budget = TimeBudget(60 * config.max_minutes, started) if config.max_minutes else None
    schedule = make_schedule(config, len(train_set), budget)
    trainer = make_trainer(config, net, checkpoint, schedule, precision)
    unet = Unet.from_network(trainer.average.module, checkpoint, precision)
    run_dir, done, best = open_run(config, checkpoint, trainer)
    print_plan(config, data, unet, schedule, run_dir)
    tell_crops(asked, unet)
    columns, titles = min(4, config.batch_size, len(train_set)), ["augmented crops, with their masks"]
    draw_samples(run_dir / "train_batch.png", batches.preview(train_set), columns, titles)
    history, board = History(run_dir / "history.csv", done), SummaryWriter(str(run_dir))
    if budget:
        spend(budget, history, run_dir)
    loss_of = make_criterion(config, data, precision.device)

    epochs, pictures = [], Pictures(run_dir, history, unet.predict, data)
    with telling_how_to_go_on(run_dir):
        for epoch in schedule.epochs(done):
            phase = schedule.phase(epoch)
            # So that a run that is resumed drops the same values as one that never stopped.
            torch.manual_seed(config.seed + epoch)
            batches.epoch, batches.batch_size = epoch, phase.batch_size
            net.freeze_encoder(phase.frozen)
            if config.compile and (epoch == done or phase is not schedule.phase(epoch - 1)):
                sizes = {len(keys) for keys in batches}
                seconds = trainer.compile(sizes, *next(iter(train_loader)), criterion=loss_of)
                print(f"compiled in {seconds:.0f} s{', which --max-minutes counts' if budget else ''}")
            start = time.perf_counter()
            bar = progress(schedule.in_time(train_loader), f"epoch {epoch + 1}", "batch", len(batches))
            trained = train_one_epoch(trainer, bar, loss_of, schedule.steps_before(epoch))
            unet.follow(trainer.average.module)
            val_loss, scores = evaluate(unet.logits, val_loader, loss_of, unet.num_classes, precision.device)
            lr, seconds = trainer.optimizer.param_groups[-1]["lr"], time.perf_counter() - start
            row = Row(
                epoch + 1, lr, trained.loss, val_loss, scores.miou, seconds, trained.crops / trained.seconds
            )
            improved = math.isnan(best) or row.miou > best
            best = row.miou if improved else best
            save_run(run_dir, checkpoint, trainer, row, best, improved)
            history.add(row)
            log_to_board(board, row)
            print(f"epoch {row.epoch:4d}  loss {row.train_loss:.4f}  val_loss {val_loss:.4f}  mIoU {row.miou:7.2%}"
                  f"{' *' if improved else '  '}  {seconds:5.1f} s")  # fmt: skip
            epochs.append(trained)
            pictures.draw_sometimes()
            if budget:
                budget.reserve = time.perf_counter() - start - trained.seconds + pictures.seconds
    pictures.draw()
    board.close()
    print_result(config, run_dir, history, scores, data, epochs)


def check_config(config: Config) -> None:
    """Raises UserError for a number that cannot work, before anything is read."""
    from_one = ("epochs", "batch_size", "freeze_batch_size")
    from_zero = ("freeze_epochs", "weight_decay", "momentum", "encoder_lr_factor", "dice_weight", "dice_smooth", "focal_gamma",
                 "border_weight", "num_workers", "seed")  # fmt: skip
    above_zero = ("lr", "freeze_lr", "max_minutes", "dice_beta", "border_sigma")
    # A NaN passes none of them.
    for names, fits, expected in (
        (from_one, lambda value: value >= 1, "1 or more"),
        (from_zero, lambda value: value >= 0, "0 or more"),
        (above_zero, lambda value: 0 < value < math.inf, "a number above 0"),
        (("input_shape",), lambda sides: min(sides) >= 1, "a height and a width above 0"),
    ):
        for name in names:
            value = getattr(config, name)
            if value is not None and not fits(value):
                raise UserError(
                    "check-config",
                    f"--{name.replace('_', '-')}",
                    str(value),
                    expected,
                    "choose another value",
                )
    parse_augmentation(config.augmentation)
    if config.deterministic and config.max_minutes:
        found = "--deterministic with --max-minutes"
        raise UserError(
            "check-config",
            "settings",
            found,
            "a learning rate that does not follow the clock",
            "use --epochs",
        )
    if config.compile and config.save_memory:
        remedy = "leave one of them out: the compiler itself chooses what to keep"
        raise UserError(
            "check-config", "settings", "--compile with --save-memory", "one way to keep fewer maps", remedy
        )
    if config.freeze_epochs >= config.epochs and config.freeze_epochs and not config.max_minutes:
        found = f"--freeze-epochs {config.freeze_epochs} of --epochs {config.epochs}"
        raise UserError(
            "check-config",
            "settings",
            found,
            "epochs left to train the whole network",
            "raise --epochs or freeze for fewer",
        )


def read_data(config: Config) -> Data:
    """The checked data set; the demo set is drawn when it is asked for and not there."""
    if config.voc_root == DEMO and not (VocFolder(DEMO).splits_dir / "test.txt").exists():
        print(f"drawing the demo set into {DEMO}")
        make_demo(DEMO)
    data = load_data(VocFolder(config.voc_root), config.fold)
    if config.network.num_classes not in (None, len(data.class_names)):
        raise UserError(
            "read-data",
            f"--num-classes {config.network.num_classes}",
            f"{config.voc_root} has {len(data.class_names)} classes: {', '.join(data.class_names)}",
            f"{len(data.class_names)}, the background counted",
            f"leave --num-classes out, or correct {data.folder.class_names_path}",
        )
    return data


def fill_in(config: Config, data: Data) -> Config:
    """The settings with what was left to the program chosen."""
    weights, names = config.class_weights, data.class_names
    one_each = isinstance(weights, str) or (
        len(weights) == len(names) and all(0 <= w < math.inf for w in weights)
    )
    if not one_each or not any(weights):
        expected = f"{len(names)} numbers from 0 on, one for each of {', '.join(names)}, not all of them 0"
        raise UserError(
            "fill-in", "--class-weights", str(weights), expected, "give as many numbers, or balanced"
        )
    crop, batch = plan_crops(data.train_sizes, config.input_shape, config.fit == "letterbox")
    lr = config.lr or LEARNING_RATES[config.optimizer]
    return replace(
        config,
        network=replace(config.network, in_channels=config.network.in_channels or data.channels),
        input_shape=crop,
        batch_size=config.batch_size or batch,
        freeze_batch_size=config.freeze_batch_size or 2 * (config.batch_size or batch),
        lr=lr,
        freeze_lr=config.freeze_lr or lr,
        weight_decay=WEIGHT_DECAYS[config.optimizer] if config.weight_decay is None else config.weight_decay,
    )


def make_network(config: Config, data: Data) -> tuple[UNet, Checkpoint]:
    """The network with the weights that it starts from, and the checkpoint that describes it (its weights not filled in)."""
    num_classes, float_range = len(data.class_names), read_float_range(data.folder)
    start = read_model(config.model_path) if config.model_path else None
    network = config.network
    if start:
        check_backbone(network.backbone, start, config.model_path)
        network = resolve_network_settings(network, start, config.model_path)
        config = replace(config, network=network)
    network = replace(network, num_classes=num_classes)
    try:
        net = build(network)
    except ValueError as error:
        raise UserError(
            "make-network", "network settings", str(error), "a network that exists", "choose other values"
        ) from None
    if config.fit == "letterbox" and min(config.input_shape) < 2 * net.stride:
        found, least = "×".join(map(str, config.input_shape)), 2 * net.stride
        remedy = "choose a larger --input-shape, or a smaller --depth"
        raise UserError(
            "make-network", "--input-shape", found, f"{least}×{least} or more for this network", remedy
        )
    if start and not config.resume:
        load_matching(net, start, config.model_path)
    # A run that goes on keeps what the network has seen so far, though the data may have grown since.
    known = load_checkpoint(config.resume) if config.resume else start
    if known:
        normalisation = Normalisation(**known.normalisation)
        other_scale = float_range and tuple(normalisation.range_float or ()) != float_range
        if normalisation.range_16bit is None or other_scale:
            normalisation = replace(normalisation, range_16bit=data.range_16bit)
    elif config.pretrained and network.backbone != "plain":
        normalisation = load_pretrained(net, network.backbone, network.in_channels)
        normalisation = replace(normalisation, range_16bit=data.range_16bit)
    else:
        normalisation = data.normalisation(network.in_channels)
    if float_range:
        normalisation = replace(normalisation, range_float=float_range)
    if config.save_memory:
        net.save_memory()
    checkpoint = Checkpoint(
        model={},
        network=network,
        class_names=data.class_names,
        palette=voc_palette(num_classes).tolist(),
        normalisation=normalisation.to_dict(),
        input_shape=data.fit_crop(config.input_shape, net.stride)
        if config.fit == "crop"
        else config.input_shape,
        fit=config.fit,
        settings=config_to_dict(config),
    )
    return net, checkpoint


def resolve_network_settings(wanted: NetworkConfig, start: Checkpoint, path: Path) -> NetworkConfig:
    """The settings of the weights at `path`, with a note of those that differ from the `wanted` ones.

    The number of classes stays as wanted, and coarser maps may be scored that were not when the weights were trained.
    """
    deep_supervision = wanted.deep_supervision or start.network.deep_supervision
    found = replace(start.network, num_classes=wanted.num_classes, deep_supervision=deep_supervision)
    other = [
        f"{name} {value} instead of {getattr(wanted, name)}"
        for name, value in vars(found).items()
        if name != "deep_supervision" and value != getattr(wanted, name)
    ]
    if other:
        note(f"the network is that of {path}: {', '.join(other)}")
    return found


def read_float_range(folder: VocFolder) -> tuple[float, float] | None:
    """The numbers that became 0 and 65535 when pictures of floats were imported; None where there are none."""
    scaling = folder.root / "scaling.json"
    return widest_range(scaling) if scaling.is_file() else None


def make_loaders(
    config: Config, data: Data, checkpoint: Checkpoint, margin: int, device: torch.device
) -> tuple[SegmentationDataset, EpochBatches, DataLoader, DataLoader]:
    """Random crops (an epoch sees about every pixel once) and whole validation pictures.

    margin: context that unpadded convolutions need around the crop; beyond the picture it is mirrored, as in the paper.
    """
    workers = choose_workers(device) if config.num_workers is None else config.num_workers
    crop, in_channels = checkpoint.input_shape, checkpoint.network.in_channels
    cache_bytes = CACHE_BYTES // (2 * max(workers, 1))
    train = SegmentationDataset(
        data.folder,
        data.train,
        in_channels,
        crop=(crop[0] + 2 * margin, crop[1] + 2 * margin),
        crops_per_picture=data.crops_per_picture(crop) if config.fit == "crop" else 1,
        augmentation=parse_augmentation(config.augmentation),
        seed=config.seed,
        border=BorderWeights(config.border_weight, config.border_sigma) if config.border_weight else None,
        border_dir=make_border_dir() if config.border_weight else None,
        letterboxed=config.fit == "letterbox",
        range_16bit=checkpoint.normalisation["range_16bit"],
        cache_bytes=cache_bytes,
    )
    val = SegmentationDataset(
        data.folder, data.val, in_channels, range_16bit=train.range_16bit, cache_bytes=cache_bytes
    )
    batches = EpochBatches(len(train), config.batch_size, config.seed)
    val_batches = same_size_batches(data.val_sizes, max(config.batch_size * crop[0] * crop[1], LARGE_STEP))
    # Each process takes as much memory as Python and PyTorch do; the few pictures of validation need no more than two.
    val_loader = make_loader(val, val_batches, min(workers, 2), device)
    return train, batches, make_loader(train, batches, workers, device), val_loader


def make_border_dir() -> Path:
    """A folder that is gone when the program ends."""
    border_dir = Path(tempfile.mkdtemp(prefix="border_weights_"))
    atexit.register(shutil.rmtree, border_dir, ignore_errors=True)
    return border_dir


def make_schedule(config: Config, crops: int, budget: TimeBudget | None) -> Schedule:
    """The frozen phase, if any, and the rest."""
    frozen = Phase(config.freeze_epochs, config.freeze_batch_size, config.freeze_lr, frozen=True)
    rest = Phase(max(config.epochs - config.freeze_epochs, 1), config.batch_size, config.lr)
    return Schedule([frozen, rest] if frozen.epochs else [rest], crops, config.curve, budget)


def make_criterion(config: Config, data: Data, device: torch.device) -> Callable[..., torch.Tensor]:
    """The loss as a function of logits, masks and, where they are used, border weights."""
    class_weights = make_class_weights(config, data, device)
    loss = Loss(config.dice_weight, config.dice_beta, config.dice_smooth, config.focal_gamma)

    def loss_of(logits: torch.Tensor, *targets: torch.Tensor) -> torch.Tensor:
        masks, *border = (crop_centre(target, *logits.shape[-2:]) for target in targets)
        return criterion(logits, masks, loss, class_weights, *border)

    return loss_of


def make_class_weights(config: Config, data: Data, device: torch.device) -> torch.Tensor | None:
    """(K,) float32 weights of the classes in the cross-entropy, or None for equal ones."""
    if config.class_weights == "none":
        return None
    weights = config.class_weights
    if weights == "balanced":
        weights = balanced_class_weights(data.class_pixels).tolist()
    print(
        "weights  "
        + ", ".join(f"{name} {weight:.3g}" for name, weight in zip(data.class_names, weights, strict=True))
    )
    return torch.tensor(weights, dtype=torch.float32, device=device)


def make_trainer(
    config: Config, net: UNet, checkpoint: Checkpoint, schedule: Schedule, precision: Precision
) -> Trainer:
    net.to(precision.device, memory_format=precision.memory_format)
    groups = [
        {"params": list(net.encoder.parameters()), "factor": config.encoder_lr_factor},
        {
            "params": [*net.decoder.parameters(), *net.head.parameters(), *net.side_heads.parameters()],
            "factor": 1.0,
        },
    ]
    normalise = Normalisation(**checkpoint.normalisation)
    optimizer = make_optimizer(
        config.optimizer, config.lr, config.weight_decay, config.momentum, precision.device
    )
    if config.save_memory and precision.device.type == "cpu":
        return_freed_memory()
    rates, keep = (schedule.lr, schedule.total_steps), not config.save_memory
    return Trainer(net, groups, optimizer, *rates, normalise, precision, keep_memory=keep)


def open_run(config: Config, checkpoint: Checkpoint, trainer: Trainer) -> tuple[Path, int, float]:
    """The run's folder, the number of epochs already done and the best mIoU so far (NaN: none)."""
    if config.resume:
        epochs = math.inf if config.max_minutes else config.epochs
        return config.resume.parent, *resume_run(config.resume, checkpoint, trainer, epochs)
    run_dir = config.save_dir / (config.run_name or datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))
    start_run(run_dir, checkpoint)
    return run_dir, 0, math.nan


def spend(budget: TimeBudget, history: History, run_dir: Path) -> None:
    """Take off what the run has used before it was resumed. Raises UserError if nothing is left."""
    used = sum(row.seconds for row in history.rows)
    budget.use(used)
    if budget.progress() >= 1:
        found = f"{used / 60:.1f} minutes used, {budget.seconds / 60:g} allowed"
        raise UserError("spend", run_dir, found, "time left to train", "raise --max-minutes")


def print_plan(config: Config, data: Data, unet: Unet, schedule: Schedule, run_dir: Path) -> None:
    """What is about to happen, in four lines."""
    parameters = sum(p.numel() for p in unet.net.parameters())
    height, width = unet.input_shape
    print(f"data     {config.voc_root}: {counted(len(data.train), 'picture')} to train, {len(data.val)} to validate; "
          f"classes: {', '.join(data.class_names)}")  # fmt: skip
    print(f"network  {unet.backbone} U-Net, {parameters / 1e6:.2f} M parameters, {unet.precision}")
    for phase in schedule.phases:
        length = counted(phase.epochs, "epoch")
        if schedule.budget and phase is schedule.phases[-1]:
            minutes = schedule.budget.seconds / 60
            length = f"{minutes:g} minute{'s' * (minutes != 1)} in epochs"
        steps, crops = (
            counted(schedule.steps(phase) // phase.epochs, "step"),
            counted(phase.batch_size, "crop"),
        )
        print(f"plan     {length} of {steps}, {crops} of {height}×{width} each"
              f"{', the encoder frozen' if phase.frozen else ''}")  # fmt: skip
    print(f"run      {run_dir}")


def tell_crops(asked: tuple[int, int] | None, unet: Unet) -> None:
    """Say where the crops have another size (height, width) than the one that was asked for, if any was."""
    if asked not in (None, unet.input_shape):
        limits = f"at least {2 * unet.net.stride}×{2 * unet.net.stride} for this network, no larger than the largest picture"
        note(
            f"the crops are not {asked[0]}×{asked[1]} but {unet.input_shape[0]}×{unet.input_shape[1]}: {limits}"
        )


def print_result(
    config: Config, run_dir: Path, history: History, scores: Scores, data: Data, epochs: list[Epoch]
) -> None:
    """Where everything is, what looks wrong, and what to do next."""
    for name, iou, recall in zip(data.class_names, scores.iou, scores.recall, strict=True):
        if recall == 0:
            warn(
                f"class {name} is in the validation masks but was never found (IoU {iou:.2f}): train longer, or check masks"
            )
    best = max(history.rows, key=lambda row: row.miou)
    seconds = sum(row.seconds for row in history.rows)
    waited = sum(epoch.waited for epoch in epochs) / sum(epoch.seconds for epoch in epochs)
    print(f"\nbest mIoU {best.miou:.2%} in epoch {best.epoch}; {seconds:.0f} s for {counted(len(history.rows), 'epoch')}, "
          f"{waited:.1%} of the training waiting for pictures")  # fmt: skip
    print(f"checkpoint  {run_dir / 'best.pth'}")
    print(f"pictures    {run_dir / 'train_batch.png'}, val_epoch.png, loss.png, miou.png")
    print("next        score it, then look at a picture:")
    weights, picture = quoted(run_dir / "best.pth"), quoted(data.folder.image_path(data.val[0]))
    split = "" if config.fold is None else f" --split fold{config.fold}_val"
    print(f"  python get_miou.py --model-path {weights} --voc-root {quoted(config.voc_root)}{split}")
    print(f"  python predict.py --model-path {weights} --input {picture}")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
