"""Look at results: one picture (or one after another), a folder of pictures, or the speed of a model."""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from unet import Unet
from utils.console import UserError, progress, run_script, warn
from utils.images import read_image, write_image, write_mask
from utils.onnx_model import OPSET, export_onnx
from utils.voc import list_images


@dataclass
class Config:
    """Settings of a prediction."""

    mode: Literal["predict", "dir_predict", "fps", "export_onnx"] = "predict"  # a picture, a folder, speed, ONNX file
    model_path: list[Path] | None = None  # checkpoint, or several to average; None: the newest logs/*/best.pth
    input: Path | None = None  # picture (predict, fps) or folder (dir_predict); predict without it asks for names
    output: Path = Path("img_out")  # folder for the results: NAME.png to look at and NAME_mask.png with class indices
    mix_type: Literal["blend", "mask", "cutout"] = "blend"  # classes over the picture, alone, or objects cut out
    overwrite: bool = False  # replace results that are there already
    count: bool = False  # print pixels and share of every class
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
    keep_what_exists(config, [target])
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
    keep_what_exists(config, [config.output / path.stem for path in paths])
    total, failed, one_class = np.zeros(256, np.int64), [], 0
    for path in progress(paths, "predicting", "picture"):
        try:
            check_free_name(path, paths)
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
    print(f"{done} of {len(paths)} pictures → {config.output}")
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
    picture_path, mask_path = output_paths(config, target)
    mask = unet.predict(image)
    write_image(picture_path, unet.render(image, mask, config.mix_type))
    # The mask comes last: where there is one, the picture is done.
    write_mask(mask_path, mask)
    return Found((picture_path, mask_path), np.bincount(mask.ravel(), minlength=256))


def output_paths(config: Config, target: Path) -> list[Path]:
    """All that `process` writes for a picture: NAME.png to look at first, NAME_mask.png with class indices last."""
    return [target.with_name(f"{target.name}{ending}") for ending in (".png", "_mask.png")]


def keep_what_exists(config: Config, targets: list[Path]) -> None:
    """Raises UserError if a result is there already, unless told to overwrite."""
    if config.overwrite:
        return
    there = [path for target in targets for path in output_paths(config, target) if path.exists()]
    if there:
        found = "a result of this name" if len(there) == 1 else f"a result of this name, and {len(there) - 1} more"
        raise UserError(
            there[0], found, "no file that would be replaced", "pass --overwrite, or choose another --output"
        )


def keep_apart(pictures: Path, output: Path) -> None:
    """Raises UserError if the results would go into the folder of the pictures, where they could replace some."""
    if pictures.resolve() == output.resolve():
        raise UserError(
            f"--output {output}", "the folder of the pictures themselves", "another folder", "choose another --output"
        )


def check_free_name(path: Path, paths: list[Path]) -> None:
    """Raises UserError if an earlier picture of the folder writes to the names that this one would write to."""
    for other in paths:
        if other == path:
            return
        if other.stem == path.stem or f"{other.stem}_mask" == path.stem:
            found = f"{other.name} has the same name and would share its result {path.stem}.png"
            raise UserError(path, found, "one picture a name", "rename one of them")


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
