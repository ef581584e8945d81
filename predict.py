"""Look at results: one picture (or one after another), a folder of pictures, or the speed of a model."""

import statistics
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np

from predict_video import predict_video
from results import (
    check_free_names,
    folder_tables,
    is_another,
    is_done,
    join_summaries,
    keep_apart,
    keep_what_exists,
    labelme_copy,
    output_paths,
    print_counts,
    process,
    remove_summaries,
    write_folder_tables,
)
from unet import Unet
from utils.core.console import UserError, counted, note, progress, run_script, warn
from utils.core.heap import keep_freed_memory
from utils.core.processes import device_of_process, gather, this_process
from utils.core.threads import map_ahead
from utils.images.large import open_picture
from utils.images.reading import read_image
from utils.inference.postprocess import STEPS
from utils.models.onnx import OPSET, export_onnx
from utils.voc.folder import walk_images


@dataclass
class Config:
    """Settings of a prediction."""

    mode: Literal["predict", "dir_predict", "video", "fps", "export_onnx"] = (
        "predict"  # a picture, a folder, …
    )
    model_path: list[Path] | None = (
        None  # checkpoint, or several to average; None: the newest logs/*/best.pth
    )
    input: Path | None = (
        None  # picture, folder, video, or number of a camera; predict without it asks for names
    )
    output: Path = Path(
        "img_out"
    )  # folder for the results: NAME.png to look at and NAME_mask.png with class indices
    mix_type: Literal["blend", "mask", "cutout", "montage"] = (
        "blend"  # over the picture, alone, cut out, side by side
    )
    legend: bool = False  # colours and names of the classes beside the result
    overwrite: bool = False  # replace results that are there already
    resume: bool = False  # dir_predict: leave out the pictures whose results are there
    count: bool = False  # print pixels and share of every class
    objects: bool = (
        False  # measure every object: NAME_objects.csv, a summary a picture, numbers in the result
    )
    pixel_size: str = ""  # side of a pixel, such as 0.5um: measures in this unit too
    object_classes: tuple[str, ...] = ()  # names of the classes that are objects; none: all but the first
    save_labelme: bool = False  # labelme/NAME.json with a copy of the picture, to correct by hand
    cutouts: bool = False  # NAME_cutout_CLASS.png: the objects of each class on transparent ground
    save_proba: bool = False  # NAME_proba_CLASS.png: probability of each class, from black (0) to white (1)
    save_uncertainty: bool = (
        False  # NAME_uncertainty.png: entropy, from black (sure) to white (all classes alike)
    )
    map_bits: Literal[8, 16] = 8  # bits a pixel of these two
    # Post-processing of the object classes, in this order.
    opening: int = 0  # remove what a disk of this radius (pixels) does not fit into
    closing: int = 0  # close gaps that a disk of this radius (pixels) does not fit into
    fill_holes: bool = False  # fill holes that show the background
    split_touching: bool = False  # separate round objects that touch, by a line of background
    min_area: int = 0  # remove objects of fewer pixels
    largest_only: bool = False  # keep the largest object of each class
    convex_hull: bool = False  # grow objects to their convex hull
    stride: int = 1  # video: predict every so many frames; those between keep the last mask
    smoothing: float = (
        0.0  # video: share, below 1, of the past in the probabilities of a frame; 0.7 calms flicker
    )
    show: bool = False  # video: open a window too; q or Esc ends
    repeats: int = 20  # fps, export_onnx: number of timed predictions
    argmax: bool = False  # export_onnx: the file gives classes (N, H, W) uint8 instead of logits
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # number format of the network
    compile: bool = (
        False  # torch.compile sizes that come again, at most 8, in seconds to minutes each: for a GPU
    )
    tta: bool = False  # average over flips and turns by 90°: better by a little, eight times slower
    close_gaps: str | None = None  # name of a class that separates others, such as membrane: close its gaps


PICTURES, RESULTS = ("predict", "dir_predict"), ("predict", "dir_predict", "video")
# The modes in which a setting changes something, where it does not in all.
MODES = {
    **dict.fromkeys(("objects", "pixel_size", "save_labelme", "cutouts"), PICTURES),
    **dict.fromkeys(("save_proba", "save_uncertainty", "map_bits"), PICTURES),
    **dict.fromkeys(("mix_type", "legend", "count", "object_classes", *STEPS), RESULTS),
    **dict.fromkeys(("stride", "smoothing", "show"), ("video",)),
    "resume": ("dir_predict",),
    **dict.fromkeys(("tta", "compile"), (*RESULTS, "fps")),
    "close_gaps": (*PICTURES, "fps"),
    "repeats": ("fps", "export_onnx"),
    "argmax": ("export_onnx",),
}
# Settings that change only what one of these asks for.
NEEDS = {
    "--pixel-size": ("--objects", "--mode dir_predict"),
    "--map-bits": ("--save-proba", "--save-uncertainty"),
    "--object-classes": ("--objects", "--cutouts", *(f"--{name.replace('_', '-')}" for name in STEPS)),
}


def main(config: Config) -> None:
    check_settings(config)
    unet = Unet(
        config.model_path, device_of_process(config.device), config.precision, config.tta, config.close_gaps
    )
    if config.compile:
        if unet.device.type == "cpu":
            note("on a CPU a prediction is not quicker with --compile (docs/speed.md)")
        unet.compile()
    if not this_process()[0]:
        print(f"model    {unet.origin}: {', '.join(unet.class_names)}; {unet.precision}")
    if config.mode == "dir_predict":
        predict_folder(config, unet)
    elif config.mode == "fps":
        measure_speed(config, unet)
    elif config.mode == "video":
        predict_video(config, unet)
    elif config.mode == "export_onnx":
        export(config, unet)
    elif config.input:
        predict_file(config, unet, config.input)
    else:
        ask_and_predict(config, unet)


def check_settings(config: Config) -> None:
    """Raises UserError for a setting that would change nothing: nobody shall wait for what never comes."""
    given = {
        f.name: f"--{f.name.replace('_', '-')}"
        for f in fields(config)
        if getattr(config, f.name) != f.default
    }
    asked = {*given.values(), f"--mode {config.mode}"}
    for name, flag in given.items():
        if config.mode not in (modes := MODES.get(name, (config.mode,))):
            expected = " or ".join(f"--mode {mode}" for mode in modes)
            raise UserError(
                "check-settings",
                flag,
                f"--mode {config.mode}, where it changes nothing",
                expected,
                "leave it out",
            )
    for flag, needed in NEEDS.items():
        if flag in asked and not asked & set(needed):
            expected = f"{' or '.join(needed)} with it"
            raise UserError(
                "check-settings",
                flag,
                "nothing that it could change",
                expected,
                "add one of these, or leave it out",
            )


def predict_file(config: Config, unet: Unet, path: Path) -> None:
    """Predict one picture, write the result and say what was found."""
    if path.is_dir():
        raise UserError(
            "predict-file", path, "a folder", "a picture", "for all pictures of a folder: --mode dir_predict"
        )
    keep_apart(path.parent, config.output)
    target = config.output / path.stem
    keep_what_exists(config, output_paths(config, unet, target).values())
    found = process(config, unet, path, open_picture(path), target)
    print(f"{path} → {', '.join(map(str, found.files))}")
    if config.count:
        print_counts(unet, found.counts)
    if found.only_class is not None:
        warn(ONE_CLASS.format(f"this picture ({unet.class_names[found.only_class]})"))


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
    """Predict every picture of a folder. Files that cannot be read are reported at the end and do not stop it."""
    if config.input is None:
        raise UserError(
            "predict-folder",
            "--input",
            "nothing",
            "a folder of pictures",
            "python predict.py --mode dir_predict --input img",
        )
    keep_apart(config.input, config.output)
    paths = walk_images(config.input, config.output)
    if not paths:
        raise UserError(
            "predict-folder",
            config.input,
            "no picture in this folder or below it",
            "pictures",
            "check the path",
        )
    targets, failed, taken = {}, [], {}
    for path in paths:
        target = config.output / path.relative_to(config.input).with_suffix("")
        try:
            copies = [labelme_copy(path, target)] if config.save_labelme else []
            check_free_names(path, [*output_paths(config, unet, target).values(), *copies], taken)
            targets[path] = target
        except UserError as error:
            failed.append(str(error))
    results = [each for target in targets.values() for each in output_paths(config, unet, target).values()]
    copies = [labelme_copy(path, target) for path, target in targets.items()] if config.save_labelme else []
    standing = [copy for path, copy in zip(targets, copies, strict=False) if is_another(copy, path)]
    keep_what_exists(config, [*results, *standing, *folder_tables(config).values()])
    rank, processes = this_process()
    # No process begins to write before all have looked at what exists.
    if not config.resume and not rank:
        remove_summaries(config)
    # Of one mind what is left to do, though some begin before others have looked.
    todo = gather([path for path in targets if not (config.resume and is_done(config, unet, targets[path]))])[
        0
    ]
    parts = gather(predict_share(config, unet, {path: targets[path] for path in todo[rank::processes]}))
    if rank:
        return
    failed += [error for part in parts for error in part.failed]
    done = sum(part.done for part in parts)
    if failed and not done and len(todo) == len(targets):
        faults = "\n".join(failed)
        raise UserError(
            "predict-folder",
            config.input,
            f"none of its {len(paths)} pictures can be read",
            "pictures",
            f"mend the files\n{faults}",
        )
    join_summaries(config)
    if folder_tables(config)["summary"].exists():
        write_folder_tables(config, unet)
    skipped = f" ({len(targets) - len(todo)} were done before)" if config.resume else ""
    print(f"{done} of {len(paths)} pictures → {config.output}{skipped}; the least certain first: "
          f"{folder_tables(config)['order']}")  # fmt: skip
    if processes > 1:
        print(f"shared by {processes} processes: {', '.join(str(part.done) for part in parts)} pictures")
    if config.count and done:
        print_counts(unet, sum(part.total for part in parts))
    if done and sum(part.one_class for part in parts) == done:
        warn(ONE_CLASS.format(f"each of the {done} pictures"))
    if failed:
        warn(f"left out: {counted(len(failed), 'picture')}\n" + "\n".join(failed))


@dataclass(eq=False)
class Share:
    """What one process did: pictures done, pixels of each class (256,), pictures of one class, faults."""

    done: int
    total: np.ndarray
    one_class: int
    failed: list[str]


def predict_share(config: Config, unet: Unet, targets: dict[Path, Path]) -> Share:
    """Predict the pictures (→ where their results go) of one process; files are read ahead in threads."""

    def read(path: Path) -> tuple[Path, object]:
        try:
            return path, open_picture(path)
        except UserError as error:
            return path, error

    share, pictures = Share(0, np.zeros(256, np.int64), 0, []), map_ahead(read, targets, threads=2, depth=1)
    rank, _ = this_process()
    # Closed even where a picture ends the run, so that no reader goes on.
    with closing(pictures):
        for path, image in pictures if rank else progress(pictures, "predicting", "picture", len(targets)):
            try:
                if isinstance(image, UserError):
                    raise image
                found = process(config, unet, path, image, targets[path])
            except UserError as error:
                if error.subject != str(path):
                    raise
                share.failed.append(str(error))
                continue
            share.done += 1
            share.total += found.counts
            share.one_class += found.only_class is not None
    return share


def measure_speed(config: Config, unet: Unet) -> None:
    """Time single predictions, from a picture in memory to its mask in memory."""
    check_repeats(config)
    if config.input:
        image = read_image(config.input, floats=True)
    else:
        image = np.random.default_rng(0).integers(0, 256, (*unet.input_shape, 3), dtype=np.uint8)
    keep_freed_memory()
    seconds = unet.time_predictions(image, config.repeats)
    mean, median = statistics.mean(seconds), statistics.median(seconds)
    print(f"{image.shape[0]}×{image.shape[1]}, batch 1, {config.repeats} times after warm-up: "
          f"mean {mean * 1000:.1f} ms, median {median * 1000:.1f} ms, {1 / mean:.2f} pictures a second")  # fmt: skip


def check_repeats(config: Config) -> None:
    if config.repeats < 1:
        raise UserError(
            "check-repeats", "--repeats", str(config.repeats), "1 or more", "choose another number"
        )


def export(config: Config, unet: Unet) -> None:
    """Write the network as an ONNX file, then compare it with PyTorch on a picture: results and speed."""
    check_repeats(config)
    single_file = config.output.suffix.lower() == ".onnx"
    path = config.output if single_file else config.output / f"{unet.model_path.stem}.onnx"
    if unet.model_path.suffix.lower() == ".onnx":
        raise UserError(
            "export",
            unet.model_path,
            "an ONNX file",
            "weights of PyTorch (.pth)",
            "pass the file it was made from",
        )
    if len(unet.members) > 1:
        raise UserError("export", "--model-path", "several models", "one", "export each by itself")
    keep_what_exists(config, [path])
    image = read_image(config.input or Path(__file__).with_name("img") / "cells_a.png")
    exact = Unet(unet.model_path, "cpu", "fp32")
    export_onnx(path, exact.net, exact.describe(), config.argmax)
    exported = Unet(path, config.device)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, opset {OPSET}, {exported.net.extra_repr()}")
    equal = (exported.predict(image) == exact.predict(image)).mean()
    compared = f"{equal:.4%} of the pixels equal"
    if not config.argmax:
        difference = np.abs(exported.predict_proba(image) - exact.predict_proba(image)).max()
        compared = f"largest difference of probabilities {difference:.1e}, {compared}"
    print(f"beside PyTorch, on a picture of {image.shape[0]}×{image.shape[1]}: {compared}")
    if equal < 0.999:
        warn("the ONNX file finds other classes than PyTorch does; do not use it")
    rivals = [("ONNX Runtime", exported), ("PyTorch", exact), ("PyTorch", unet)]
    for name, each in rivals[: 2 if str(unet.precision) == str(exact.precision) else 3]:
        median = statistics.median(each.time_predictions(image, config.repeats))
        print(
            f"  {name:<12} {median * 1000:8.1f} ms a picture (median of {config.repeats}), {each.precision}"
        )


ONE_CLASS = (
    "only one class was found in {}. Usual reasons: the masks in training were coded 0/255 (check them: python voc2unet.py), "
    "too little training, or a picture unlike the training pictures (size of the objects, brightness, colours)"
)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
