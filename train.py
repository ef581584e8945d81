"""Train a U-Net on a VOC folder: python train.py --epochs 100. Each setting below is a flag of that name."""

import math
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Interval
from tyro.conf import OmitArgPrefixes, Suppress

from nets.config import NetworkConfig
from nets.unet import UNet
from unet import Unet, store_closing
from utils.core.console import UserError, note, run_script
from utils.core.device import Precision, choose_device, choose_precision, set_determinism
from utils.core.heap import return_freed_memory
from utils.core.processes import device_of_process, from_first, joined_processes, this_process
from utils.core.settings import check_settings
from utils.images.arrays import check_channels
from utils.images.normalisation import Normalisation
from utils.images.palette import voc_palette
from utils.models.checkpoint import Checkpoint, config_to_dict
from utils.models.weights import build_network, resolve_network_settings
from utils.training import recipe
from utils.training.augmentation import parse_augmentation
from utils.training.border_weights import BorderWeights, make_temporary_folder
from utils.training.data import Data, check_class_settings, load_data
from utils.training.engine import Criterion, Trainer, make_optimizer, measure_speed, parameter_groups
from utils.training.epochs import train_and_validate
from utils.training.launch import Follower, check_parts, ending_with_first, find_interrupted, open_in_first
from utils.training.losses import Loss, make_criterion, resolve_class_weights
from utils.training.messages import print_plan, print_result
from utils.training.mixed import count_turns
from utils.training.pseudo_labels import train_taught
from utils.training.resuming import resume_run
from utils.training.run_folder import Run, RunPictures, free_folder, saving_when_stopped, start_run
from utils.training.samples import Sampling, draw_batch
from utils.training.schedule import Phase, Schedule, TimeBudget
from utils.training.several import Outcome, Split, train_as_asked
from utils.training.start import Start, find_last, load_start, read_start, settings_of_run
from utils.training.trial import COPIES, Trial
from utils.training.unlabelled import load_crops
from utils.voc.demo import ensure_demo
from utils.voc.folder import VocFolder

DEMO = Path("VOCdevkit/demo")
# What helps when memory runs out, see `run_script`.
REMEDIES = {
    "memory": "raise --accumulate, lower --batch-size or --input-shape, try --save-memory; "
    "close other programs (nvidia-smi lists those on an NVIDIA GPU)",
    "worker-killed": "--num-workers 0; in a container, more shared memory (docker run --shm-size 2g)",
}


@dataclass(frozen=True)
class NetworkFlags(NetworkConfig):
    """Settings of the network."""

    depth: int | None = None  # plain: number of times the resolution is halved; None: by the data
    deep_supervision: bool = True  # the decoder's coarser maps are scored, too, where convolutions are padded
    pad_picture: Suppress[bool] = True  # no flag: only the weights of Pytorch-UNet turn it off


@dataclass
class Config:
    """Settings of a run."""

    # Data
    voc_root: Path = DEMO  # VOC folder; for your own data: Path("VOCdevkit/VOC2007")
    unlabelled: Path | None = None  # folder of pictures without annotation, from which it learns, too
    labels: Suppress[Path | None] = None  # no flag: masks that networks made of these pictures
    fold: int | None = None  # train on foldK_train.txt, validate on foldK_val.txt (voc2unet.py --folds)
    input_shape: Annotated[tuple[int, int] | None, Ge(1)] = None  # height, width of crops; None: by pictures
    fit: Literal["crop", "letterbox"] = "crop"  # native resolution, or whole pictures scaled to input_shape
    coarse: Annotated[float | None, Interval(ge=0, le=1)] = None  # share with small crops; None: by the data
    augmentation: str = "default"  # none, light, default, strong; or with parts: default,rotate=180,elastic=0
    # Network
    network: OmitArgPrefixes[NetworkFlags] = field(default_factory=NetworkFlags)
    pretrained: bool = True  # other backbones than plain start from ImageNet weights, downloaded if need be
    # Where to start
    model_path: Path | None = None  # weights to fine-tune: a checkpoint of ours or of a known repository
    resume: Path | None = None  # run to go on with: its folder or latest, with the settings that it had
    # Optimisation
    # Passes over the training pictures, the frozen ones included; None: 50, more of few pictures.
    epochs: Annotated[int | None, Ge(1)] = None
    # Crops per step, of all processes; None: by number and sizes of pictures; auto: fewer if memory is short.
    batch_size: Annotated[int | Literal["auto"] | None, Ge(1)] = None
    accumulate: Annotated[int, Ge(1)] = 1  # parts of a step, one after another: less memory, same update
    max_minutes: Annotated[float | None, Gt(0)] = None  # train this long instead of `epochs`; lr follows it
    optimizer: Literal["muon", "adamw", "adam", "sgd"] | None = None  # None: muon; adamw: weights of others
    lr: Annotated[float | None, Gt(0)] = None  # highest learning rate; None: 0.002, for sgd 0.05
    curve: Literal["cosine", "one_cycle", "step"] = "cosine"  # how the learning rate rises and falls
    encoder_lr_factor: Annotated[float, Ge(0)] = 1.0  # the encoder's learning rate as a share of lr
    weight_decay: Annotated[float | None, Ge(0)] = None  # None: 0.01, for adam 0, for sgd 0.0001
    momentum: Annotated[float, Ge(0)] = 0.9  # of sgd; 0.99 in the paper
    dice_weight: Annotated[float, Ge(0)] = 1.0  # weight of the Dice loss beside cross-entropy; 0: without it
    dice_smooth: Annotated[float, Ge(0)] = 1.0  # added to both sides of the Dice's ratio, in pixels
    dice_beta: Annotated[float, Gt(0)] = 1.0  # above 1, missed pixels cost more in the Dice than extra ones
    focal_gamma: Annotated[float, Ge(0)] = 0.0  # above 0: focal loss, right pixels count less (paper: 2)
    class_weights: Annotated[Literal["none", "balanced"] | tuple[float, ...], Ge(0)] = "none"  # or numbers
    between_strokes: Annotated[float, Ge(0)] = 1.0  # weight of pixels between strokes, of the classes drawn
    border_weight: Annotated[float, Ge(0)] = 0.0  # w0, extra weight between touching objects (paper: 10)
    border_sigma: Annotated[float, Gt(0)] = 5.0  # how far it reaches, in pixels
    freeze_epochs: Annotated[int, Ge(0)] = 0  # first epochs, in which the encoder is frozen
    freeze_batch_size: Annotated[int | None, Ge(1)] = None  # crops per step in these; None: twice batch_size
    freeze_lr: Annotated[float | None, Gt(0)] = None  # highest learning rate in these; None: lr
    # Machine
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # auto: the fastest format that is safe
    compile: bool = False  # torch.compile: slow start (within --max-minutes), faster steps on some machines
    deterministic: bool = False  # the same run to the last bit every time; slower on a GPU
    save_memory: bool = False  # keep fewer maps for the backward pass: less memory, on a CPU twice the time
    num_workers: Annotated[int | None, Ge(0)] = None  # processes that load pictures; None: by the machine
    seed: Annotated[int, Ge(0)] = 0  # same seed, same data order, same crops, same initial weights
    # Several runs
    folds: Annotated[int | None, Ge(2)] = None  # train fold after fold of those of voc2unet.py --folds
    learning_curve: bool = False  # short runs on a quarter, half and all pictures: would more of them help?
    overfit: Annotated[int | None, Ge(1)] = None  # can so many pictures be learned by heart? try 2
    # Output
    save_dir: Path = Path("logs")  # folder of all runs
    run_name: str | None = None  # folder of this run in it; None: date and time


def main(config: Config) -> None:
    """One run, or those of --folds, --learning-curve or --overfit."""
    device = choose_device(device_of_process(config.device))
    with joined_processes(device):
        if config.voc_root == DEMO:
            from_first(lambda: ensure_demo(DEMO))
        train_as_asked(config, partial(train_taught, partial(train, device=device), Unet))


def train(config: Config, names: Split | None, device: torch.device) -> Outcome | None:
    """Train, validate after every epoch, and leave a run folder with checkpoints, log and pictures.

    In each of the processes that torchrun starts; the first has the outcome. names: of the pictures, if not
    those of the split files.
    """
    started = time.perf_counter()
    check_config(config)
    set_determinism(config.deterministic)
    torch.manual_seed(config.seed)
    precision = Precision(device, from_first(lambda: choose_precision(config.precision, device).dtype))
    resume = from_first(find_interrupted) or find_last(config.resume, config.save_dir)
    data = from_first(lambda: read_data(config, names))
    start = from_first(lambda: read_start(config.model_path, resume))
    config = resolve_network(replace(config, resume=resume), data, start)
    network, net = config.network, build_network(config.network)
    normalisation = load_start(net, start, data, network.backbone, network.in_channels, config.pretrained)
    if config.save_memory:
        net.save_memory()
    speed = measure_speed(net, precision, network.in_channels) if config.max_minutes else math.inf
    lower_batch = config.batch_size == "auto"
    config = resolve_settings(config, data, start, net.stride, speed)
    loss_of = make_loss(config, data, precision.device)
    copies, border = COPIES[config.optimizer], config.border_weight > 0
    trial = Trial(net, precision, loss_of, network.in_channels, copies, border)
    config = fit_to_memory(config, trial, lower_batch)
    checkpoint = describe_run(config, data, normalisation)
    checkpoint.trained_on = start.trained_on(data)
    loaders = load_crops(data, checkpoint, resolve_sampling(config, net.margin), precision.device)
    schedule = make_schedule(config, data, net, len(loaders[0].dataset), started, speed)
    trainer = make_trainer(config, net, schedule, checkpoint, precision)
    unet = Unet.from_network(trainer.average.module, checkpoint, precision)
    parts = trainer, loaders, loss_of, unet, config.compile
    run = open_in_first(lambda: open_run(config, start, checkpoint, trainer, data), start, trainer)
    if isinstance(run, Follower):
        with ending_with_first(trainer):
            train_and_validate(*parts, run)
        return None
    pictures = RunPictures(run, unet.predict, data)
    with saving_when_stopped(run, trainer):
        print_plan(data, schedule, network.describe(), net, precision, config, run.folder)
        draw_batch(run.folder / "train_batch.png", loaders[0])
        scores, epochs = train_and_validate(*parts, pictures)
        pictures.draw()
        if data.separator is not None and not run.failure:
            store_closing(run.folder / "best.pth", data.outlined_pairs(), str(device))
    print_result(run, scores, data, epochs)
    return Outcome.of_run(run, scores, trainer)


def check_config(config: Config) -> None:
    """Raises UserError for settings that cannot work, before anything is read."""
    check_settings(config)
    parse_augmentation(config.augmentation)
    check_parts(config.batch_size, config.accumulate, config.compile)
    conflict = partial(UserError, "settings-conflict", "settings")
    if config.deterministic and config.max_minutes:
        raise conflict("--deterministic with --max-minutes", "a rate free of the clock", "use --epochs")
    if config.compile and config.save_memory:
        expected, remedy = "one way to keep fewer maps", "leave one out; the compiler chooses what to keep"
        raise conflict("--compile with --save-memory", expected, remedy)
    if config.epochs and 0 < config.freeze_epochs >= config.epochs and not config.max_minutes:
        found = f"--freeze-epochs {config.freeze_epochs} of --epochs {config.epochs}"
        raise conflict(found, "epochs left for the whole network", "raise --epochs or freeze fewer epochs")


def read_data(config: Config, names: Split | None = None) -> Data:
    """The checked data set."""
    data = load_data(VocFolder(config.voc_root), config.fold, names)
    check_class_settings(data, config.network.num_classes, config.class_weights)
    return data


def resolve_network(config: Config, data: Data, start: Start) -> Config:
    """The settings, with those of the network chosen by the data and the weights."""
    in_channels, pictures = config.network.in_channels or data.pictures.channels, f"in {config.voc_root}"
    check_channels(f"--in-channels {in_channels}", in_channels, data.pictures.channels, pictures)
    known, network, depth = start.last or start.weights, config.network, config.network.depth
    if depth is None:
        depth = known.network.depth if known else recipe.choose_depth(data.typical_width)
    network = replace(network, in_channels=in_channels, num_classes=len(data.class_names), depth=depth)
    if start.last:
        network = replace(network, deep_supervision=start.last.network.deep_supervision)
    elif start.weights:
        network = resolve_network_settings(network, start.weights.network, start.path)
    even = network.padding == "same" and network.pad_picture
    return replace(config, network=replace(network, deep_supervision=network.deep_supervision and even))


def resolve_settings(config: Config, data: Data, start: Start, stride: int, speed: float) -> Config:
    """The settings, with those left to the program chosen by the data, the time and the optimizer.

    speed: pixels per second of training. Raises UserError for crops that are too small for the network.
    """
    pixels = 60 * config.max_minutes * speed if config.max_minutes else None
    # In the second part of a run the clock could choose others.
    wanted = None if config.batch_size == "auto" else config.batch_size
    given, letterboxed = start.crops(config.input_shape, wanted), config.fit == "letterbox"
    told = letterboxed, config.epochs, pixels, data.typical_width
    turns = count_turns(len(data.train), config.labels)
    crop, batch_size = recipe.plan_crops(data.train_sizes * turns, *given, *told)
    batch_size = max(batch_size, this_process()[1] * config.accumulate)
    if letterboxed:
        recipe.check_letterbox(crop, stride)
    else:
        crop = data.fit_crop(crop, stride, config.input_shape)
    coarse = config.coarse
    if coarse is None:
        timed = config.max_minutes is not None  # else an epoch on small crops is one less on whole ones
        coarse = recipe.choose_coarse(data.structures, data.typical_width, data.has_strokes) if timed else 0.0
    passes = recipe.choose_epochs(data.crops_per_epoch(crop, config.fit), batch_size)
    known = bool(start.path), start.optimizer
    optimizer = config.optimizer or recipe.choose_optimizer(config.network.backbone, *known)
    lr, decay = config.lr or recipe.LEARNING_RATES[optimizer], config.weight_decay
    return replace(
        config,
        augmentation=recipe.fit_augmentation(config.augmentation, data.asymmetry),
        input_shape=crop,
        epochs=config.epochs or config.freeze_epochs + passes,
        batch_size=batch_size,
        coarse=coarse,
        freeze_batch_size=config.freeze_batch_size or 2 * batch_size,
        optimizer=optimizer,
        lr=lr,
        freeze_lr=config.freeze_lr or lr,
        weight_decay=recipe.WEIGHT_DECAYS[optimizer] if decay is None else decay,
    )


def make_loss(config: Config, data: Data, device: torch.device) -> Criterion:
    """The loss of logits and masks on this device."""
    dice = config.dice_weight, config.dice_beta, config.dice_smooth
    loss = Loss(*dice, config.focal_gamma, between=config.between_strokes)
    weights = resolve_class_weights(config.class_weights, data.class_names, data.class_pixels)
    return make_criterion(loss, weights, device)


def fit_to_memory(config: Config, trial: Trial, lower: bool) -> Config:
    """The settings, with smaller batches if they do not fit and `lower`, else UserError says what does."""
    sizes, fit = {}, (config.input_shape, config.accumulate, lower)
    sizes["batch_size"] = trial.fit_batch(config.batch_size, *fit)
    if config.freeze_epochs:
        trial.net.freeze_encoder(True)
        sizes["freeze_batch_size"] = trial.fit_batch(config.freeze_batch_size, *fit)
        trial.net.freeze_encoder(False)
    return replace(config, **sizes)


def describe_run(config: Config, data: Data, normalisation: Normalisation) -> Checkpoint:
    """The checkpoint of this run, without weights."""
    names, palette = data.class_names, voc_palette(len(data.class_names)).tolist()
    found = {"symmetry": recipe.find_symmetry(data.asymmetry), "separator": data.separator}
    settings, scaling = config_to_dict(config) | found, normalisation.to_dict()
    return Checkpoint(
        {}, config.network, names, palette, scaling, config.input_shape, config.fit, settings=settings
    )


def resolve_sampling(config: Config, margin: int) -> Sampling:
    """How crops are drawn. margin: pixels of context that unpadded convolutions need around the crop."""
    w0, augmentation = config.border_weight, parse_augmentation(config.augmentation)
    border = BorderWeights(w0, config.border_sigma, make_temporary_folder()) if w0 else None
    draws = augmentation, config.batch_size, config.seed, margin, border
    return Sampling(*draws, config.num_workers, config.unlabelled, config.labels, config.between_strokes > 0)


def make_schedule(
    config: Config, data: Data, net: UNet, crops: int, started: float, speed: float
) -> Schedule:
    """The frozen phase, if any, and the rest. started: when the clock of --max-minutes began."""
    frozen = Phase(config.freeze_epochs, config.freeze_batch_size, config.freeze_lr, frozen=True)
    rest = Phase(max(config.epochs - config.freeze_epochs, 1), config.batch_size, config.lr)
    validation = recipe.VALIDATION_COST * data.val_pixels / speed
    clock = started, validation, lambda progress: from_first(lambda: progress), data.closing_seconds
    budget = TimeBudget(60 * config.max_minutes, *clock) if config.max_minutes else None
    turns = count_turns(len(data.train), config.labels)
    every = recipe.validation_interval(turns * data.train_pixels, data.val_pixels)
    coarse = 0.0 if net.margin else config.coarse
    sizes = recipe.plan_sizes(coarse, data.typical_width, config.input_shape, net.stride)
    return Schedule([frozen, rest] if frozen.epochs else [rest], crops, config.curve, budget, every, sizes)


def make_trainer(
    config: Config, net: UNet, schedule: Schedule, checkpoint: Checkpoint, precision: Precision
) -> Trainer:
    """Moves the network to the device, and makes its optimizer and its averaged weights."""
    net.to(precision.device, memory_format=precision.memory_format)
    groups = parameter_groups(net, config.encoder_lr_factor)
    settings = config.lr, config.weight_decay, config.momentum
    optimizer = make_optimizer(config.optimizer, groups, *settings, precision.device)
    if config.save_memory and precision.device.type == "cpu":
        return_freed_memory()
    normalise = Normalisation(**checkpoint.normalisation)
    taught = config.unlabelled is not None and config.labels is None
    more = {"accumulate": config.accumulate, "seed": config.seed, "taught": taught}
    return Trainer(net, optimizer, schedule, normalise, precision, config.save_memory, **more)


def open_run(config: Config, start: Start, checkpoint: Checkpoint, trainer: Trainer, data: Data) -> Run:
    """A new run folder, or the one of the run that is resumed, with the trainer's state. Raises UserError."""
    if start.last:
        return resume_run(config.resume, start.last, checkpoint, trainer, data)
    if config.resume:
        note(f"no epoch of the run in {config.resume.parent} was finished: it begins again")
        return start_run(config.resume.parent, checkpoint, data)
    if config.run_name:
        return start_run(config.save_dir / config.run_name, checkpoint, data)
    folder = free_folder(config.save_dir / datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))
    return start_run(folder, checkpoint, data)


if __name__ == "__main__":
    run_script(main, Config, __doc__, REMEDIES, settings_of_run)
