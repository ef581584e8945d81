"""Look at results: one picture (or one after another), a folder of pictures, or the speed of a model."""

import re
import shutil
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from unet import Unet
from utils.console import UserError, progress, run_script, warn
from utils.files import replacing
from utils.images import read_image, to_uint8_rgb, write_image, write_mask
from utils.labelme import BACKGROUND_LABEL, IGNORE_LABEL
from utils.objects import (
    Objects,
    append_row,
    join_tables,
    measure_objects,
    object_rows,
    parse_pixel_size,
    read_table,
    summary_row,
    write_table,
)
from utils.onnx_model import OPSET, export_onnx
from utils.palette import cutout_of
from utils.plots import draw_numbered, with_legend
from utils.polygons import write_labelme
from utils.postprocess import Postprocessing, postprocess
from utils.voc import list_images, write_lines


@dataclass
class Config:
    """Settings of a prediction."""

    mode: Literal["predict", "dir_predict", "fps", "export_onnx"] = "predict"  # a picture, a folder, speed, ONNX file
    model_path: list[Path] | None = None  # checkpoint, or several to average; None: the newest logs/*/best.pth
    input: Path | None = None  # picture (predict, fps) or folder (dir_predict); predict without it asks for names
    output: Path = Path("img_out")  # folder for the results: NAME.png to look at and NAME_mask.png with class indices
    mix_type: Literal["blend", "mask", "cutout", "montage"] = "blend"  # over the picture, alone, cut out, side by side
    legend: bool = False  # colours and names of the classes beside the result
    overwrite: bool = False  # replace results that are there already
    count: bool = False  # print pixels and share of every class
    objects: bool = False  # measure every object: NAME_objects.csv, a summary a picture, numbers in the result
    pixel_size: str = ""  # side of a pixel, such as 0.5um: measures in this unit too
    object_classes: tuple[str, ...] = ()  # names of the classes that are objects; none: all but the first
    save_labelme: bool = False  # labelme/NAME.json with a copy of the picture, to correct by hand
    cutouts: bool = False  # NAME_cutout_CLASS.png: the objects of each class on transparent ground
    # Post-processing of the object classes, in this order.
    opening: int = 0  # remove what a disk of this radius (pixels) does not fit into
    closing: int = 0  # close gaps that a disk of this radius (pixels) does not fit into
    fill_holes: bool = False  # fill holes that show the background
    split_touching: bool = False  # separate round objects that touch, by a line of background
    min_area: int = 0  # remove objects of fewer pixels
    largest_only: bool = False  # keep the largest object of each class
    convex_hull: bool = False  # grow objects to their convex hull
    repeats: int = 20  # fps, export_onnx: number of timed predictions
    argmax: bool = False  # export_onnx: the file gives classes (N, H, W) uint8 instead of logits
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # number format of the network
    tta: bool = False  # average over flips and turns by 90°: better by a little, eight times slower


def main(config: Config) -> None:
    unet = Unet(config.model_path, config.device, config.precision, config.tta)
    print(f"model    {unet.origin}: {', '.join(unet.class_names)}; {unet.precision}")
    if config.mode == "dir_predict":
        predict_folder(config, unet)
    elif config.mode == "fps":
        measure_speed(config, unet)
    elif config.mode == "export_onnx":
        export(config, unet)
    elif config.input:
        predict_file(config, unet, config.input)
    else:
        ask_and_predict(config, unet)


def predict_file(config: Config, unet: Unet, path: Path) -> None:
    """Predict one picture, write the result and say what was found."""
    if path.is_dir():
        raise UserError(path, "a folder", "a picture", "for all pictures of a folder: --mode dir_predict")
    keep_apart(path.parent, config.output)
    target = config.output / path.stem
    keep_what_exists(config, output_paths(config, unet, target).values())
    found = process(config, unet, path, read_image(path), target)
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
            "--input", "nothing", "a folder of pictures", "python predict.py --mode dir_predict --input img"
        )
    paths = list_images(config.input)
    keep_apart(config.input, config.output)
    if not paths:
        raise UserError(
            config.input, "no picture in this folder", "pictures", "check the path; subfolders are not searched"
        )
    results = (each for path in paths for each in output_paths(config, unet, config.output / path.stem).values())
    keep_what_exists(config, [*results, *folder_tables(config).values()])
    if folder_tables(config)["summary"].exists():
        folder_tables(config)["summary"].unlink()
    total, failed, one_class, taken = np.zeros(256, np.int64), [], 0, {}
    for path in progress(paths, "predicting", "picture"):
        try:
            check_free_names(path, output_paths(config, unet, config.output / path.stem).values(), taken)
            image = read_image(path)
        except UserError as error:
            failed.append(error)
            continue
        found = process(config, unet, path, image, config.output / path.stem)
        total += found.counts
        one_class += found.only_class is not None
    done = len(paths) - len(failed)
    if not done:
        faults = "\n".join(str(error) for error in failed)
        raise UserError(
            config.input, f"none of its {len(paths)} pictures can be read", "pictures", f"mend the files\n{faults}"
        )
    write_folder_tables(config, unet)
    print(
        f"{done} of {len(paths)} pictures → {config.output}; the least certain first: {folder_tables(config)['order']}"
    )
    if config.count:
        print_counts(unet, total)
    if one_class == done:
        warn(ONE_CLASS.format(f"each of the {done} pictures"))
    if failed:
        warn(f"{len(failed)} pictures were left out:\n" + "\n".join(str(error) for error in failed))


def measure_speed(config: Config, unet: Unet) -> None:
    """Time single predictions, from a picture in memory to its mask in memory."""
    check_repeats(config)
    if config.input:
        image = read_image(config.input)
    else:
        image = np.random.default_rng(0).integers(0, 256, (*unet.input_shape, 3), dtype=np.uint8)
    seconds = unet.time_predictions(image, config.repeats)
    mean, median = statistics.mean(seconds), statistics.median(seconds)
    print(f"{image.shape[0]}×{image.shape[1]}, batch 1, {config.repeats} times after warm-up: "
          f"mean {mean * 1000:.1f} ms, median {median * 1000:.1f} ms, {1 / mean:.2f} pictures a second")  # fmt: skip


def check_repeats(config: Config) -> None:
    if config.repeats < 1:
        raise UserError("--repeats", str(config.repeats), "1 or more", "choose another number")


def export(config: Config, unet: Unet) -> None:
    """Write the network as an ONNX file, then compare it with PyTorch on a picture: results and speed."""
    check_repeats(config)
    single_file = config.output.suffix.lower() == ".onnx"
    path = config.output if single_file else config.output / f"{unet.model_path.stem}.onnx"
    if unet.model_path.suffix.lower() == ".onnx":
        raise UserError(unet.model_path, "an ONNX file", "weights of PyTorch (.pth)", "pass the file it was made from")
    if path.exists() and not config.overwrite:
        raise UserError(path, "a file of this name", "a new file", "pass --overwrite, or choose another --output")
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
        print(f"  {name:<12} {median * 1000:8.1f} ms a picture (median of {config.repeats}), {each.precision}")


@dataclass(frozen=True, eq=False)
class Found:
    """What one picture gave. files: those written, the picture to look at first; counts: (256,) int64 pixels a class."""

    files: tuple[Path, ...]
    counts: np.ndarray

    @property
    def only_class(self) -> int | None:
        """The class of all pixels, or None where there are several."""
        present = np.flatnonzero(self.counts)
        return int(present[0]) if len(present) == 1 else None


def process(config: Config, unet: Unet, path: Path, image: np.ndarray, target: Path) -> Found:
    """Predict one picture, write all that is asked for and say what was found; the only way to do so.

    path: where the picture (H, W[, 3]) came from; target: folder and name of its results, without an ending.
    """
    steps = postprocessing(config, unet)
    pixel_size = parse_pixel_size(config.pixel_size) if config.pixel_size else None
    mask, certainty = unet.predict_with_certainty(image)
    mask = postprocess(mask, steps)
    counts = np.bincount(mask.ravel(), minlength=256)
    objects = measure_objects(mask, image, certainty, steps.classes, pixel_size) if config.objects else None
    name = path.relative_to(config.input).as_posix() if config.mode == "dir_predict" else path.name
    summary = summary_row(name, counts, float(certainty.mean()) / 255, objects, unet.class_names, pixel_size)

    paths = output_paths(config, unet, target)
    write_image(paths["picture"], draw_result(config, unet, image, mask, objects))
    if objects is not None:
        write_table(paths["objects"], object_rows(objects, name, unet.class_names), ["picture", *objects.columns])
    if config.save_labelme:
        copy = paths["labelme"].with_suffix(path.suffix)
        with replacing(copy) as temporary:
            shutil.copyfile(path, temporary)
        write_labelme(paths["labelme"], copy.name, mask, unet.class_names)
        # Fixes the order of the classes, for json_to_dataset.py and for labelme itself.
        if not (labels := copy.with_name("labels.txt")).exists():
            write_lines(labels, [IGNORE_LABEL, BACKGROUND_LABEL, *unet.class_names[1:]])
    for index in steps.classes if config.cutouts else ():
        write_image(paths[f"cutout {index}"], cutout_of(to_uint8_rgb(image), mask, index))
    if config.mode == "dir_predict":
        append_row(folder_tables(config)["summary"], summary)
    elif config.objects:
        write_table(paths["summary"], [summary])
    # The mask comes last: where there is one, the picture is done.
    write_mask(paths["mask"], mask)
    return Found(tuple(paths.values()), counts)


def draw_result(config: Config, unet: Unet, image: np.ndarray, mask: np.ndarray, objects: Objects | None) -> np.ndarray:
    """What people look at, (h, w, 3) uint8: the classes, the objects with their numbers, and a legend where asked for."""
    picture = unet.render(image, mask, config.mix_type)
    if objects is not None:
        picture[:, -mask.shape[1] :] = draw_numbered(picture[:, -mask.shape[1] :], objects.labels)
    return with_legend(picture, unet.class_names, unet.palette) if config.legend else picture


def postprocessing(config: Config, unet: Unet) -> Postprocessing:
    """The steps that the settings ask for. Raises UserError for an unknown class or a number below zero."""
    for name in ("opening", "closing", "min_area"):
        if getattr(config, name) < 0:
            flag = f"--{name.replace('_', '-')}"
            raise UserError(flag, str(getattr(config, name)), "0 or more pixels", "choose another number")
    for name in config.object_classes:
        if name not in unet.class_names:
            known = ", ".join(unet.class_names)
            raise UserError("--object-classes", repr(name), f"classes of the model: {known}", "check the spelling")
    names = config.object_classes or unet.class_names[1:]
    return Postprocessing(
        tuple(index for index, name in enumerate(unet.class_names) if name in names),
        config.opening,
        config.closing,
        config.fill_holes,
        config.split_touching,
        config.min_area,
        config.largest_only,
        config.convex_hull,
    )


def output_paths(config: Config, unet: Unet, target: Path) -> dict[str, Path]:
    """All that `process` writes for a picture: NAME.png to look at first, NAME_mask.png with class indices last."""

    def named(ending: str) -> Path:
        return target.with_name(f"{target.name}{ending}")

    paths = {"picture": named(".png")}
    if config.objects:
        paths["objects"] = named("_objects.csv")
        if config.mode != "dir_predict":
            paths["summary"] = named("_summary.csv")
    if config.save_labelme:
        paths["labelme"] = target.parent / "labelme" / f"{target.name}.json"
    if config.cutouts:
        for index in postprocessing(config, unet).classes:
            # Class names may hold what file names may not.
            safe = re.sub(r"[^\w-]+", "_", unet.class_names[index])
            paths[f"cutout {index}"] = named(f"_cutout_{index}_{safe}.png")
    return {**paths, "mask": named("_mask.png")}


def keep_what_exists(config: Config, paths: Iterable[Path]) -> None:
    """Raises UserError if a result is there already, unless told to overwrite."""
    there = [] if config.overwrite else [path for path in paths if path.exists()]
    if there:
        found = "a result of this name" if len(there) == 1 else f"a result of this name, and {len(there) - 1} more"
        raise UserError(
            there[0], found, "no file that would be replaced", "pass --overwrite, or choose another --output"
        )


def folder_tables(config: Config) -> dict[str, Path]:
    """The tables of all pictures of a folder."""
    return {name: config.output / f"{name}.csv" for name in ("summary", "order", *["objects"] * config.objects)}


def write_folder_tables(config: Config, unet: Unet) -> None:
    """order.csv: the pictures of summary.csv from the least to the most certain, so that the first are worth correcting.

    With --objects also the tables of all pictures in one, objects.csv.
    """
    tables = folder_tables(config)
    # A picture that was done again has a second row, which counts.
    rows = list({row["picture"]: row for row in read_table(tables["summary"])}.values())
    ordered = sorted(rows, key=lambda row: float(row["mean_certainty"]))
    write_table(tables["order"], [{name: row[name] for name in ("picture", "mean_certainty")} for row in ordered])
    if config.objects:
        targets = [(config.output / row["picture"]).with_suffix("") for row in rows]
        join_tables(tables["objects"], [output_paths(config, unet, target)["objects"] for target in targets])


def keep_apart(pictures: Path, output: Path) -> None:
    """Raises UserError if the results would go into the folder of the pictures, where they could replace some."""
    if pictures.resolve() == output.resolve():
        raise UserError(
            f"--output {output}", "the folder of the pictures themselves", "another folder", "choose another --output"
        )


def check_free_names(path: Path, paths: Iterable[Path], taken: dict[str, Path]) -> None:
    """Raises UserError if an earlier picture writes to a name that this one would write to; else takes its names.

    paths: what this picture writes; taken: lower-case file → picture, since some systems do not tell case apart.
    """
    names = [str(each).lower() for each in paths]
    for name in names:
        if name in taken:
            found = f"{taken[name].name} has the same name and would share its result {Path(name).name}"
            raise UserError(path, found, "one picture a name", "rename one of them")
    taken |= dict.fromkeys(names, path)


def print_counts(unet: Unet, counts: np.ndarray) -> None:
    """Pixels and share of every class; counts: (256,)."""
    width = max(len(name) for name in unet.class_names)
    for index, name in enumerate(unet.class_names):
        print(f"  {index:3d} {name:<{width}} {counts[index]:12d} pixels {counts[index] / counts.sum():8.2%}")


ONE_CLASS = (
    "only one class was found in {}. Usual reasons: the masks in training were coded 0/255 (check them: python voc2unet.py), "
    "too little training, or a picture unlike the training pictures (size of the objects, brightness, colours)"
)


if __name__ == "__main__":
    run_script(main, Config, __doc__)
