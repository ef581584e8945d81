"""Look at results: a picture (or one after another), a folder, a video, or the speed of a model."""

import statistics
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from annotated_types import Ge

from unet import Unet
from utils.core.console import UserError, counted, note, progress, run_script, warn
from utils.core.heap import keep_freed_memory
from utils.core.locks import locked
from utils.core.processes import device_of_process, gather, this_process
from utils.core.settings import check_settings, given_flags
from utils.images.arrays import check_channels, is_photo
from utils.images.reading import as_array
from utils.inference import outputs
from utils.inference.ensemble import find_class
from utils.inference.folder import Share, list_sources, predict_share
from utils.inference.outputs import FolderTables, ResultSettings, Source, refuse_overwrite
from utils.inference.postprocess import Postprocessing, postprocess
from utils.inference.rendering import Drawing
from utils.inference.results import ResultWriter, print_shares
from utils.inference.video import VideoSettings, segment_video, video_target
from utils.models.onnx import OPSET, export_onnx

# What helps when memory runs out, see `run_script`.
REMEDIES = {
    "memory": "close other programs; huge pictures are read piece by piece as tiled TIFFs, but not with "
    "--objects, --cutouts, --save-labelme, --legend or cleaning",
    "gpu": "close other programs (nvidia-smi lists those on an NVIDIA GPU), or pass --device cpu",
}
# Modes in which a setting, or a group of settings, has an effect, where it does not in all.
FOLDER = {"modes": ("dir_predict",)}
PICTURES = {"modes": ("predict", "dir_predict")}
RESULTS = {"modes": ("predict", "dir_predict", "video")}
VIDEO = {"modes": ("video",)}
EXPORT = {"modes": ("export_onnx",)}
MASKS = {"modes": ("predict", "dir_predict", "fps")}
LOGITS = {"modes": ("predict", "dir_predict", "video", "fps")}
TIMED = {"modes": ("fps", "export_onnx")}


@dataclass(frozen=True)
class SpeedSettings:
    """Speed and export."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # number format of the network
    # torch.compile sizes that come again, at most 8, in seconds to minutes each; for a GPU
    compile: bool = field(default=False, metadata=LOGITS)
    # number of timed predictions in modes fps and export_onnx
    repeats: Annotated[int, Ge(1)] = field(default=20, metadata=TIMED)
    # mode export_onnx: the file gives classes (N, H, W) uint8 instead of logits
    argmax: bool = field(default=False, metadata=EXPORT)


@tyro.conf.configure(tyro.conf.OmitArgPrefixes)
@dataclass
class Config:
    """Settings of a prediction."""

    # a picture, a folder, a video, the speed, or an ONNX file
    mode: Literal["predict", "dir_predict", "video", "fps", "export_onnx"] = "predict"
    model_path: list[Path] | None = None  # checkpoint, or several to average; None: newest logs/*/best.pth
    input: Path | None = None  # picture, folder, video, or number of a camera; predict asks without it
    output: Path = Path("img_out")  # folder for NAME.png to look at and NAME_mask.png with class indices
    overwrite: bool = False  # replace results that are there already
    # leave out the pictures of a folder whose results are there
    skip_existing: Annotated[bool, tyro.conf.arg(aliases=["--resume"])] = field(
        default=False, metadata=FOLDER
    )
    # classes over the picture, alone, cut out, or side by side with it
    mix_type: Literal["blend", "mask", "cutout", "montage"] = field(default="blend", metadata=RESULTS)
    # colours and names of the classes beside the result
    legend: bool = field(default=False, metadata=RESULTS)
    count: bool = field(default=False, metadata=RESULTS)  # print pixels and share of every class
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    # average over the mirror images and turns known from training: up to eight times slower
    tta: bool = field(default=False, metadata=LOGITS)
    # close the gaps of a class that separates others, such as membrane: its name; auto: by training; none
    close_gaps: str = field(default="auto", metadata=MASKS)
    # names of the classes that are measured, cut out and cleaned; none: all but the first
    object_classes: tuple[str, ...] = field(default=(), metadata=RESULTS)

    results: ResultSettings = field(default_factory=ResultSettings, metadata=PICTURES)
    cleaning: Postprocessing = field(default_factory=Postprocessing, metadata=RESULTS)
    video: VideoSettings = field(default_factory=VideoSettings, metadata=VIDEO)
    speed: SpeedSettings = field(default_factory=SpeedSettings)


def main(config: Config) -> None:
    check_settings(config)
    reject_flags_without_effect(config)
    if config.mode in ("predict", "dir_predict", "video"):
        outputs.refuse_file_name(config.output)
    unet = open_unet(config)
    if config.mode == "dir_predict":
        predict_folder(config, unet)
    elif config.mode == "video":
        predict_video(config, unet)
    elif config.mode == "fps":
        measure_speed(config, unet)
    elif config.mode == "export_onnx":
        export(config, unet)
    elif config.input:
        predict_file(config, unet, config.input)
    else:
        ask_and_predict(config, unet)


def reject_flags_without_effect(config: Config) -> None:
    """Reject flags that have no effect in this mode, or without another flag."""
    for flag, modes in given_flags(config, (config.mode,)):
        if config.mode not in modes:
            reject_alone(flag, f"--mode {' or --mode '.join(modes)}", f"--mode {config.mode}")
    results, measures = config.results, config.results.objects or config.mode != "predict"
    if results.pixel_size and not measures:
        reject_alone("--pixel-size", "--objects or --mode dir_predict")
    if results.map_bits != 8 and not (results.save_proba or results.save_uncertainty):
        reject_alone("--map-bits", "--save-proba or --save-uncertainty")
    if config.object_classes and not (results.objects or results.cutouts or config.cleaning.active):
        reject_alone("--object-classes", "--objects, --cutouts or a step of the cleaning, such as --min-area")


def reject_alone(flag: str, needed: str, found: str = "settings") -> None:
    """Raises UserError."""
    found = f"{found} where it has no effect"
    raise UserError("flag-without-effect", flag, found, needed, "add one of these, or leave it out")


def open_unet(config: Config) -> Unet:
    device = device_of_process(config.device)
    unet = Unet(config.model_path, device, config.speed.precision, config.tta, config.close_gaps)
    if config.speed.compile:
        if unet.device.type == "cpu":
            note("on a CPU predictions are not faster with --compile")
        unet.compile()
    if not this_process()[0]:
        print(f"model    {unet.origin}: {', '.join(unet.class_names)}; {unet.precision}")
    return unet


def make_drawing(config: Config, unet: Unet) -> Drawing:
    return Drawing(unet.palette, unet.class_names, config.mix_type, config.legend)


def find_object_classes(config: Config, unet: Unet) -> tuple[int, ...]:
    """Indices of --object-classes. Raises UserError for a name that the model does not know."""
    names = config.object_classes or unet.class_names[1:]
    return tuple(sorted({find_class("--object-classes", name, unet.class_names) for name in names}))


def make_writer(config: Config, unet: Unet, tables: FolderTables | None = None) -> ResultWriter:
    drawing, classes = make_drawing(config, unet), find_object_classes(config, unet)
    settings = config.results, drawing, classes, config.cleaning, config.output
    members = len(unet.members)
    return ResultWriter(*settings, tables, config.overwrite, config.skip_existing, members)


def require_input(config: Config, expected: str, example: str) -> Path:
    """Raises UserError without --input."""
    if config.input is None:
        command = f"python predict.py --mode {config.mode} --input {example}"
        raise UserError("input-missing", "--input", "nothing", expected, command)
    return config.input


def predict_file(config: Config, unet: Unet, path: Path) -> None:
    """Predict one picture, write the result and report what was found."""
    if path.is_dir():
        raise UserError("picture-is-folder", path, "a folder", "a picture", "pass --mode dir_predict")
    outputs.refuse_same_folder(path.parent, config.output)
    writer, source = make_writer(config, unet), Source(path, path.name)
    # Before a large file is read.
    if fault := writer.files(source).name_fault(source):
        raise fault
    writer.refuse_overwrite(source)
    result = writer.write(source, unet.open(path), unet.bands)
    print(f"{path} → {', '.join(map(str, result.paths))}")
    print_shares(unet.class_names, result.counts, config.count)
    if result.only_class is not None:
        warn(ONE_CLASS.format(f"this picture ({unet.class_names[result.only_class]})"))


def ask_and_predict(config: Config, unet: Unet) -> None:
    """Ask for picture names until the input ends; a wrong name is answered and asked again."""
    while True:
        try:
            name = input("Input image filename:").strip().strip('"')
        except EOFError:
            print()
            return
        if not name:
            continue
        try:
            predict_file(config, unet, Path(name))
        except UserError as error:
            print(f"error: {error}\nTry again.")


def predict_folder(config: Config, unet: Unet) -> None:
    """Predict every picture of a folder. Unreadable files are reported at the end and do not stop it."""
    # Processes of torchrun share the folder of results.
    with nullcontext() if this_process()[0] else locked(config.output):
        predict_pictures(config, unet)


def predict_pictures(config: Config, unet: Unet) -> None:
    folder = require_input(config, "a folder of pictures", "img")
    rank, processes = this_process()
    tables = FolderTables(config.output, config.results.objects, rank)
    writer = make_writer(config, unet, tables)
    sources, faults = list_sources(folder, writer)
    writer.refuse_overwrite(*sources)
    if not config.overwrite and not config.skip_existing:
        refuse_overwrite(tables.paths)
    # No process begins to write before all have looked at what exists.
    if not config.skip_existing and not rank:
        tables.remove_summaries()
    # All share the list of the first process, although some begin to write before others have looked.
    todo = gather([each for each in sources if not (config.skip_existing and writer.is_done(each))])[0]
    own = todo[rank::processes]
    bar = partial(progress, description="predicting", unit="picture", total=len(own))
    try:
        shares = gather(predict_share(own, writer, unet.open, unet.bands, iter if rank else bar))
    except KeyboardInterrupt:
        note("what is done stays; the same command with --skip-existing predicts the rest")
        raise
    if rank:
        return
    total, unread = len(sources) + len(faults), [fault for share in shares for fault in share.faults]
    faults += unread
    if faults and not any(share.done for share in shares) and len(todo) == len(sources):
        found, remedy = f"{counted(total, 'file')}, none readable", "mend the files\n" + "\n".join(faults)
        raise UserError("folder-unreadable", folder, found, "pictures", remedy)
    tables.finish(lambda name: writer.files(Source(folder / name, name)).objects)
    done, skipped = sum(share.done for share in shares), len(sources) - len(todo)
    before = f" ({skipped} done before)" if config.skip_existing else ""
    predicted = f"{done} of {counted(total, 'picture')}"
    print(f"{predicted} → {config.output}{before}; the least certain first: {tables.order}")
    report_shares(config, unet, shares)
    if faults:
        warn(f"left out: {counted(len(faults), 'picture')}\n" + "\n".join(faults))


def report_shares(config: Config, unet: Unet, shares: list[Share]) -> None:
    done = sum(share.done for share in shares)
    if len(shares) > 1:
        print(f"shared by {len(shares)} processes: {', '.join(str(share.done) for share in shares)} pictures")
    if done:
        print_shares(unet.class_names, sum(share.counts for share in shares), config.count)
    if done and sum(share.one_class for share in shares) == done:
        warn(ONE_CLASS.format(f"each of the {done} pictures" if done > 1 else "the picture"))


def predict_video(config: Config, unet: Unet) -> None:
    """Predict the frames of a video or a camera and write them as a video."""
    source = require_input(config, "a video file, or the number of a camera", "video.mp4")
    for member in unet.members:
        check_channels(source, 3, member.in_channels, f"in the training of {member.path}")
    outputs.refuse_same_folder(source.parent, config.output)
    target = video_target(source, config.output)
    if not config.overwrite:
        refuse_overwrite([target])
    classes = find_object_classes(config, unet)
    done = segment_video(
        source,
        target,
        config.video,
        predict_logits=lambda frames: unet.logits(torch.from_numpy(frames).movedim(3, 1)),
        clean=lambda mask: postprocess(mask, classes, config.cleaning),
        draw=make_drawing(config, unet).draw,
        batch_frames=unet.device.type != "cpu",
    )
    (height, width), compiling = done.shape, ", compiling included" if config.speed.compile else ""
    print(
        f"{source} → {target}: {counted(done.frames, 'frame')} of {width}×{height}, "
        f"{float(done.rate):g} per second, codec {done.codec}, without sound; "
        f"{done.frames / done.seconds:.1f} frames per second{compiling}"
    )
    print_shares(unet.class_names, done.counts, config.count)


def measure_speed(config: Config, unet: Unet) -> None:
    """Time single predictions, from a picture in memory to its mask in memory."""
    image = as_array(config.input) if config.input else make_noise(unet)
    keep_freed_memory()
    seconds = unet.time_predictions(image, config.speed.repeats)
    mean, median = statistics.mean(seconds), statistics.median(seconds)
    print(
        f"{image.shape[0]}×{image.shape[1]}, batch 1, {config.speed.repeats} times after warm-up: "
        f"mean {mean * 1000:.1f} ms, median {median * 1000:.1f} ms, {1 / mean:.2f} pictures per second"
    )


def make_noise(unet: Unet) -> np.ndarray:
    """A picture of random values with the channels that the first network takes."""
    channels = unet.members[0].in_channels
    shape = (*unet.input_shape, 3 if is_photo(channels) else channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def export(config: Config, unet: Unet) -> None:
    """Write the network as an ONNX file, then compare it with PyTorch on a picture: results and speed."""
    single_file = config.output.suffix.lower() == ".onnx"
    path = config.output if single_file else config.output / f"{unet.model_path.stem}.onnx"
    if unet.model_path.suffix.lower() == ".onnx":
        remedy = "pass the file it was made from"
        raise UserError("export-of-onnx", unet.model_path, "an ONNX file", "a .pth file", remedy)
    if len(unet.members) > 1:
        remedy = "export each by itself"
        raise UserError("export-of-ensemble", "--model-path", "several models", "one model", remedy)
    if not config.overwrite:
        refuse_overwrite([path])
    exact = Unet(unet.model_path, "cpu", "fp32", close_gaps="none")
    example = Path(__file__).with_name("img") / "cells_a.png"
    photo = is_photo(unet.members[0].in_channels)
    image = exact.open(as_array(config.input) if config.input else example if photo else make_noise(unet))
    export_onnx(path, exact.net, exact.checkpoint, config.speed.argmax)
    exported = Unet(path, config.device, close_gaps="none")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, opset {OPSET}, {exported.net.extra_repr()}")
    equal = (exported.predict(image) == exact.predict(image)).mean()
    compared = f"{equal:.4%} of the pixels equal"
    if not config.speed.argmax:
        difference = np.abs(exported.predict_proba(image) - exact.predict_proba(image)).max()
        compared = f"largest difference of probabilities {difference:.1e}, {compared}"
    print(f"beside PyTorch, on a picture of {image.shape[0]}×{image.shape[1]}: {compared}")
    if equal < 0.999:
        warn("the ONNX file finds other classes than PyTorch does; do not use it")
    rivals = [("ONNX Runtime", exported), ("PyTorch", exact), ("PyTorch", unet)]
    for name, each in rivals[: 2 if str(unet.precision) == str(exact.precision) else 3]:
        median = statistics.median(each.time_predictions(image, config.speed.repeats))
        timed = f"{median * 1000:8.1f} ms per picture (median of {config.speed.repeats})"
        print(f"  {name:<12} {timed}, {each.precision}")


ONE_CLASS = (
    "only one class was found in {}. Usual reasons: masks coded 0/255 in training (check them: python "
    "voc2unet.py), too little training, or pictures of other brightness, colours or object size"
)


if __name__ == "__main__":
    run_script(main, Config, __doc__, REMEDIES)
