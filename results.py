"""The results of a prediction: everything that is written for a picture or a folder, for predict.py and the window."""

import filecmp
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from unet import Unet
from utils.core.console import UserError
from utils.core.files import remove, replacing, write_lines
from utils.core.heap import keep_freed_memory
from utils.core.processes import this_process
from utils.core.tables import append_row, join_tables, read_table, write_table
from utils.images.arrays import to_uint8_rgb
from utils.images.large import LARGE_PIXELS, TiffWindows
from utils.images.palette import cutout_of, voc_palette
from utils.images.plots import draw_numbered, with_legend
from utils.images.row_files import PNG_PIXELS, row_writer
from utils.images.writing import write_image, write_mask
from utils.inference.bands import predict_to_files
from utils.inference.maps import certainty as certainty_of
from utils.inference.maps import classes, entropy, probability_of
from utils.inference.objects import Objects, measure_objects, object_rows, parse_pixel_size, summary_row
from utils.inference.postprocess import STEPS, Postprocessing, postprocess
from utils.labelme.annotation import BACKGROUND_LABEL, IGNORE_LABEL
from utils.labelme.writing import write_labelme

if TYPE_CHECKING:
    from predict import Config  # noqa: TID251 - goes with the writer of results


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


def process(config: "Config", unet: Unet, path: Path, image: np.ndarray | TiffWindows, target: Path) -> Found:
    """Predict one picture, write all that is asked for and say what was found; the only way to do so.

    path: where the picture (H, W[, 3]) came from; target: folder and name of its results, without an ending.
    """
    steps = postprocessing(config, unet)
    pixel_size = parse_pixel_size(config.pixel_size) if config.pixel_size else None
    copy = labelme_copy(path, target)
    if config.save_labelme and is_another(copy, path):
        keep_what_exists(config, [copy])
    maps, image = probability_maps(config, unet), unet.adapt(image, path)
    whole = (
        config.objects
        or config.save_labelme
        or config.cutouts
        or config.legend
        or steps.active
        or config.close_gaps
    )
    if image.shape[0] * image.shape[1] > LARGE_PIXELS and not whole and config.mix_type != "montage":
        return process_large(config, unet, path, image, target)
    # Not for the large ones, whose memory is bounded.
    keep_freed_memory()
    image = image[:]
    mask, certainty, *values = unet.predict_as(image, classes, certainty_of, *maps.values())
    mask = postprocess(mask, steps)
    counts = np.bincount(mask.ravel(), minlength=256)
    objects = measure_objects(mask, image, certainty, steps.classes, pixel_size) if config.objects else None
    name = path.relative_to(config.input).as_posix() if config.mode == "dir_predict" else path.name
    summary = summary_row(name, counts, float(certainty.mean()) / 255, objects, unet.class_names, pixel_size)

    paths = output_paths(config, unet, target)
    if mask.size > PNG_PIXELS:
        paths |= {key: paths[key].with_suffix(".tif") for key in ("picture", "mask")}
        keep_what_exists(config, paths.values())
    write_whole(paths["picture"], draw_result(config, unet, image, mask, objects))
    if objects is not None:
        write_table(
            paths["objects"], object_rows(objects, name, unet.class_names), ["picture", *objects.columns]
        )
    if config.save_labelme:
        with replacing(copy) as temporary:
            shutil.copyfile(path, temporary)
        # A run that is resumed may find polygons that were corrected by hand.
        if config.overwrite or not paths["labelme"].exists():
            write_labelme(paths["labelme"], copy.name, mask, unet.class_names)
        # Fixes the order of the classes, for json_to_dataset.py and for labelme itself.
        labels = copy.with_name("labels.txt")
        if config.overwrite or not labels.exists():
            write_lines(labels, [IGNORE_LABEL, BACKGROUND_LABEL, *unet.class_names[1:]])
    for name, array in zip(maps, values, strict=True):
        write_image(paths[name], array)
    for index in steps.classes if config.cutouts else ():
        write_image(paths[f"cutout {index}"], cutout_of(to_uint8_rgb(image), mask, index))
    if config.mode == "dir_predict":
        append_row(summary_part(config), summary)
    elif config.objects:
        write_table(paths["summary"], [summary])
    # The mask comes last: where there is one, the picture is done.
    write_whole(paths["mask"], mask, voc_palette())
    return Found(tuple(paths.values()), counts)


def write_whole(path: Path, array: np.ndarray, palette: np.ndarray | None = None) -> None:
    """A mask (with a palette) or a picture, as PNG, or as the TIFF that huge ones become."""
    if path.suffix == ".tif":
        with row_writer(path, array.shape, array.dtype, palette) as file:
            file.write(array)
    elif palette is None:
        write_image(path, array)
    else:
        write_mask(path, array)


def process_large(
    config: "Config", unet: Unet, path: Path, image: np.ndarray | TiffWindows, target: Path
) -> Found:
    """Like `process`, band by band: no more than a band of the picture is held in memory. TIFFs where PNG viewers give up."""
    paths = output_paths(config, unet, target)
    if image.shape[0] * image.shape[1] > PNG_PIXELS:
        paths = {key: each.with_suffix(".tif") for key, each in paths.items()}
        keep_what_exists(config, paths.values())
    maps = probability_maps(config, unet)
    counts, certainty = predict_to_files(unet, image, paths, config.mix_type, maps, config.map_bits)
    if config.mode == "dir_predict":
        name = path.relative_to(config.input).as_posix()
        pixel_size = parse_pixel_size(config.pixel_size) if config.pixel_size else None
        summary = summary_row(name, counts, certainty, None, unet.class_names, pixel_size)
        append_row(summary_part(config), summary)
    return Found(tuple(paths.values()), counts)


def probability_maps(config: "Config", unet: Unet) -> dict[str, Callable[[Tensor], Tensor]]:
    """Key in `output_paths` → function of the logits, for every map that is asked for."""
    count = len(unet.class_names) if config.save_proba else 0
    maps = {f"proba {index}": partial(probability_of, index, config.map_bits) for index in range(count)}
    return (
        {**maps, "uncertainty": partial(entropy, bits=config.map_bits)} if config.save_uncertainty else maps
    )


def draw_result(
    config: "Config", unet: Unet, image: np.ndarray, mask: np.ndarray, objects: Objects | None
) -> np.ndarray:
    """What people look at, (h, w, 3) uint8: the classes, the objects with their numbers, and a legend where asked for."""
    picture = unet.render(image, mask, config.mix_type)
    if objects is not None:
        picture[:, -mask.shape[1] :] = draw_numbered(picture[:, -mask.shape[1] :], objects.labels)
    return with_legend(picture, unet.class_names, unet.palette) if config.legend else picture


def print_counts(unet: Unet, counts: np.ndarray) -> None:
    """Pixels and share of every class; counts: (256,)."""
    width = max(len(name) for name in unet.class_names)
    for index, name in enumerate(unet.class_names):
        print(f"  {index:3d} {name:<{width}} {counts[index]:12d} pixels {counts[index] / counts.sum():8.2%}")


def postprocessing(config: "Config", unet: Unet) -> Postprocessing:
    """The steps that the settings ask for. Raises UserError for an unknown class or a number below zero."""
    for name in ("opening", "closing", "min_area"):
        if getattr(config, name) < 0:
            flag = f"--{name.replace('_', '-')}"
            raise UserError(
                "postprocessing",
                flag,
                str(getattr(config, name)),
                "0 or more pixels",
                "choose another number",
            )
    for name in config.object_classes:
        if name not in unet.class_names:
            known = ", ".join(unet.class_names)
            raise UserError(
                "postprocessing",
                "--object-classes",
                repr(name),
                f"classes of the model: {known}",
                "check the spelling",
            )
    names = config.object_classes or unet.class_names[1:]
    classes = tuple(index for index, name in enumerate(unet.class_names) if name in names)
    return Postprocessing(classes, *(getattr(config, name) for name in STEPS))


def output_paths(config: "Config", unet: Unet, target: Path) -> dict[str, Path]:
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
    # Class names may hold what file names may not.
    safe = [f"{index}_" + re.sub(r"[^\w-]+", "_", name) for index, name in enumerate(unet.class_names)]
    for index in postprocessing(config, unet).classes if config.cutouts else ():
        paths[f"cutout {index}"] = named(f"_cutout_{safe[index]}.png")
    for key in probability_maps(config, unet):
        kind, *index = key.split()
        paths[key] = named("".join(["_", kind, *(f"_{safe[int(each)]}" for each in index), ".png"]))
    return {**paths, "mask": named("_mask.png")}


def labelme_copy(path: Path, target: Path) -> Path:
    """Where the picture itself goes beside its polygons."""
    return target.parent / "labelme" / f"{target.name}{path.suffix}"


def is_another(there: Path, path: Path) -> bool:
    """Whether there is a file already, of another content than `path`."""
    return there.exists() and not filecmp.cmp(path, there, shallow=False)


def keep_what_exists(config: "Config", paths: Iterable[Path]) -> None:
    """Raises UserError if a result is there already, unless told to overwrite."""
    resuming = config.resume and config.mode == "dir_predict"
    there = [] if config.overwrite or resuming else [path for path in paths if path.exists()]
    if there:
        found = (
            "a result of this name"
            if len(there) == 1
            else f"a result of this name, and {len(there) - 1} more"
        )
        raise UserError(
            "keep-what-exists",
            there[0],
            found,
            "no file that would be replaced",
            "pass --overwrite, or choose another --output",
        )


def folder_tables(config: "Config") -> dict[str, Path]:
    """The tables of all pictures of a folder."""
    return {
        name: config.output / f"{name}.csv" for name in ("summary", "order", *["objects"] * config.objects)
    }


def summary_part(config: "Config") -> Path:
    """Where this process adds its rows: summary.csv, or, of several processes, a file of its own until they are joined."""
    rank, _ = this_process()
    return config.output / (f"summary.{rank}.csv" if rank else "summary.csv")


def remove_summaries(config: "Config") -> None:
    for part in (config.output / "summary.csv", *summary_parts(config)):
        if part.exists():
            remove(part)


def summary_parts(config: "Config") -> list[Path]:
    """Those of all processes but the first, not yet joined."""
    return sorted(
        part for part in config.output.glob("summary.*.csv") if re.fullmatch(r"summary\.\d+\.csv", part.name)
    )


def join_summaries(config: "Config") -> None:
    """Bring the rows of all processes, and of those that were interrupted, into summary.csv."""
    for part in summary_parts(config):
        for row in read_table(part):
            append_row(config.output / "summary.csv", row)
        remove(part)


def is_done(config: "Config", unet: Unet, target: Path) -> bool:
    """Whether all results of a picture are there (of a huge one, as TIFF)."""
    paths = output_paths(config, unet, target).values()
    return all(path.exists() or path.with_suffix(".tif").exists() for path in paths)


def write_folder_tables(config: "Config", unet: Unet) -> None:
    """order.csv: the pictures of summary.csv from the least to the most certain, so that the first are worth correcting.

    With --objects also the tables of all pictures in one, objects.csv.
    """
    tables = folder_tables(config)
    # A picture that was done again has a second row, which counts.
    rows = list({row["picture"]: row for row in read_table(tables["summary"])}.values())
    write_table(tables["summary"], rows)
    ordered = sorted(rows, key=lambda row: float(row["mean_certainty"]))
    write_table(
        tables["order"], [{name: row[name] for name in ("picture", "mean_certainty")} for row in ordered]
    )
    if config.objects:
        targets = [(config.output / row["picture"]).with_suffix("") for row in rows]
        parts = (output_paths(config, unet, target)["objects"] for target in targets)
        join_tables(tables["objects"], [part for part in parts if part.exists()])


def keep_apart(pictures: Path, output: Path) -> None:
    """Raises UserError if the results would go into the folder of the pictures, where they could replace some."""
    if pictures.resolve() == output.resolve():
        raise UserError(
            "keep-apart",
            f"--output {output}",
            "the folder of the pictures themselves",
            "another folder",
            "choose another --output",
        )


def check_free_names(path: Path, paths: Iterable[Path], taken: dict[str, Path]) -> None:
    """Raises UserError if an earlier picture writes to a name that this one would write to; else takes its names.

    paths: what this picture writes; taken: lower-case file → picture, since some systems do not tell case apart.
    """
    names = [str(each).lower() for each in paths]
    for name in names:
        if name in taken:
            found = f"{taken[name].name} has the same name and would share its result {Path(name).name}"
            raise UserError("check-free-names", path, found, "one picture a name", "rename one of them")
    taken |= dict.fromkeys(names, path)
