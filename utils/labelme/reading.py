"""Reading labelme's JSON, of any labelme version, and that of X-AnyLabeling."""

import base64
import binascii
import filecmp
import io
import json
from pathlib import Path, PureWindowsPath

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from utils.core.console import UserError, on_one_line
from utils.images.file_types import IMAGE_SUFFIXES
from utils.images.reading import decode_image, image_to_array, read_image
from utils.labelme.annotation import Annotation, Shape

COORDINATE_LIMIT = 1e5  # Pillow paints larger circles for minutes and wraps around beyond 2^31
LARGE_FILE = 1 << 24  # bytes of JSON that are searched for shapes before they are parsed
JSON_EXPECTED = "a JSON file as labelme writes it, in UTF-8 or GB18030"
DRAW_AGAIN = "open the file in labelme, delete the shape and draw it again"

# Shape type → number of points.
EXACT_POINTS = {"rectangle": 2, "oriented_rectangle": 4, "circle": 2, "line": 2, "point": 1, "mask": 2}
LEAST_POINTS = {"polygon": 3, "linestrip": 2, "points": 1}
# Shapes of X-AnyLabeling that labelme calls otherwise. Its rectangles have four corners since version 2.2.
FOUR_CORNERS = {"rotation", "quadrilateral", "rectangle"}

# First bytes of the picture formats that are kept as they are (others become PNG) → file ending.
PICTURE_SIGNATURES = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG\r\n\x1a\n": ".png",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"BM": ".bmp",
    b"RIFF": ".webp",
}
OTHER_PICTURE = "the picture that imagePath names is not there; another one beside the file is used"


def read_annotation(path: Path, skipped: list[UserError] | None = None) -> Annotation:
    """Read and check a labelme file and its picture. Raises UserError for whatever labelme would not draw.

    skipped: a list that takes the errors of faulty shapes, which are then left out.
    """
    content = _read_json(path)
    remarks: dict[str, str] = {}
    if content.get("imageData"):
        # pop, because nothing may hold on to the text of a large picture while it is decoded.
        data = _decode_base64(f"{path}, imageData", content.pop("imageData"))
        image, picture = _decode_embedded(f"{path}, imageData", data, remarks)
    else:
        beside = _find_picture(path, content.get("imagePath"), remarks)
        image, picture = read_image(beside), beside.read_bytes()
    shapes = []
    for number, raw in enumerate(content["shapes"], 1):
        try:
            shapes.append(_parse_shape(f"{path}, shape {number}", raw))
        except UserError as fault:
            if skipped is None:
                raise
            skipped.append(fault)
    height, width = image.shape[:2]
    stated = (content.get("imageHeight") or height, content.get("imageWidth") or width)
    # X-AnyLabeling states -1 where it does not know.
    if stated not in ((height, width), (-1, -1)):
        sizes = f"{stated[0]}×{stated[1]} (height×width) is stated, but the picture has {height}×{width}"
        remarks["the picture's size is used; check whether the shapes fit"] = sizes
    suffix = next((suffix for start, suffix in PICTURE_SIGNATURES.items() if picture.startswith(start)), None)
    return Annotation(path, image, picture if suffix else None, suffix or ".png", tuple(shapes), remarks)


def _read_json(path: Path) -> dict:
    found, remedy = "JSON without a list of shapes", "move files of another kind elsewhere"
    other_kind = UserError("json-kind", path, found, JSON_EXPECTED, remedy)
    try:
        data = path.read_bytes()
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            # Older versions on a Chinese Windows.
            text = data.decode("gb18030")
        # Parsed numbers take ten times the memory of their text: reject large files of another kind before.
        if len(text) > LARGE_FILE and '"shapes"' not in text:
            raise other_kind
        content = json.loads(text)
    except OSError as error:
        found = f"it cannot be read ({error.strerror})"
        raise UserError("json-unreadable", path, found, JSON_EXPECTED, "check its permissions") from None
    except (ValueError, RecursionError) as error:
        found, remedy = f"malformed JSON ({error})", "take the file from a backup, or annotate again"
        raise UserError("json-malformed", path, found, JSON_EXPECTED, remedy) from None
    except MemoryError:
        found = f"{path.stat().st_size >> 20} MB of JSON, which this machine's memory does not hold"
        raise UserError("json-memory", path, found, JSON_EXPECTED, "annotate tiles of the picture") from None
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise other_kind
    return content


def _decode_embedded(subject: str, data: bytes, remarks: dict[str, str]) -> tuple[np.ndarray, bytes]:
    """The picture in `imageData` and its bytes; no bytes where `read_image` would turn the picture."""
    image = decode_image(data, subject)
    if data.startswith(b"\xff\xd8\xff"):
        with Image.open(io.BytesIO(data)) as stored:
            if stored.getexif().get(Base.Orientation) in range(2, 9):
                # labelme turns picture files upright but shows embedded ones as stored, and draws on that.
                remarks["EXIF marks the embedded picture as turned; it is used as labelme shows it"] = ""
                return image_to_array(stored), b""
    return image, data


def _decode_base64(subject: str, text: object) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, TypeError, ValueError) as error:
        found, expected = f"broken base64 data ({error})", "a picture file in base64"
        remedy = "take the file from a backup; imageData may be null where the picture lies beside the file"
        raise UserError("base64-broken", subject, found, expected, remedy) from None


def _find_picture(path: Path, image_path: object, remarks: dict[str, str]) -> Path:
    """The picture that `imagePath` names, or else one with the JSON file's own name.

    Raises UserError for none, and where both are there but differ: the shapes may belong to either.
    """
    named = PureWindowsPath(image_path if isinstance(image_path, str) else "").as_posix()
    own_stem = [path.stem + ending for suffix in IMAGE_SUFFIXES for ending in (suffix, suffix.upper())]
    own = next((path.parent / name for name in own_stem if (path.parent / name).is_file()), None)
    for name in (named, PureWindowsPath(named).name):
        picture = path.parent / name
        if picture.suffix.lower() != ".json" and picture.is_file():
            if own and picture.stem != path.stem and not filecmp.cmp(own, picture, shallow=False):
                found = f"two pictures: imagePath names {image_path}, and {own.name} has the name of the file"
                remedy = "write the right one into imagePath, or move the other one to another folder"
                raise UserError("labelme-two-pictures", path, found, "the picture that was annotated", remedy)
            if name != named:
                remarks[OTHER_PICTURE] = f"no {image_path!r}, but {name}"
            if path.parent.resolve() not in picture.resolve().parents:
                remarks["the picture lies outside the folder of the file"] = str(picture.resolve())
            return picture
    if own:
        remarks[OTHER_PICTURE] = f"no {image_path!r}, but {own.name}"
        return own
    found = f"no imageData, no picture {image_path!r} (imagePath), and no {path.stem}.jpg/.png/…"
    expected, remedy = "the picture, embedded or beside the JSON", f"copy the picture to {path.parent}"
    raise UserError("labelme-picture-missing", path, found, expected, remedy)


def _parse_shape(subject: str, raw: object) -> Shape:
    label = raw.get("label") if isinstance(raw, dict) else None
    # A line break inside would become two classes in class_names.txt.
    label = on_one_line(label).strip() if isinstance(label, str) else ""
    if not label:
        raise UserError("label-missing", subject, "no label", "one for every shape", "label it in labelme")
    subject = f"{subject} ({label})"
    # The first versions knew only polygons and did not write the type.
    shape_type = str(raw.get("shape_type") or "polygon")
    points = raw.get("points")
    four = isinstance(points, list) and len(points) == 4
    if shape_type in FOUR_CORNERS and (four or shape_type != "rectangle"):
        corners = _parse_points(subject, "oriented_rectangle", points)
        return _four_corners(label, corners, shape_type, raw.get("group_id"))
    if shape_type not in EXACT_POINTS | LEAST_POINTS:
        found, expected = f"shape type {shape_type!r}", f"one of {' '.join(EXACT_POINTS | LEAST_POINTS)}"
        raise UserError("shape-type", subject, found, expected, DRAW_AGAIN)
    points = _parse_points(subject, shape_type, points)
    mask = _parse_mask(subject, points, raw.get("mask")) if shape_type == "mask" else None
    return Shape(label, points, shape_type, raw.get("group_id"), mask)


def _four_corners(label: str, points: np.ndarray, shape_type: str, group_id: object) -> Shape:
    """A shape of X-AnyLabeling. Its rectangles are upright; corners that are not tell of another program."""
    corners = np.array([points.min(axis=0), points.max(axis=0)])
    upright = (np.abs(points[:, None] - corners).min(axis=1) < 1).all()
    if shape_type == "rectangle" and upright:
        return Shape(label, corners, "rectangle", group_id)
    return Shape(label, points, "oriented_rectangle", group_id)


def _parse_points(subject: str, shape_type: str, raw: object) -> np.ndarray:
    least = (EXACT_POINTS | LEAST_POINTS)[shape_type]
    more = shape_type in LEAST_POINTS
    count = len(raw) if isinstance(raw, list) else 0
    expected = f"{least}{' or more' * more} points [x, y] for shape type {shape_type}"
    if count < least or (count > least and not more):
        raise UserError("point-count", subject, f"{count} point(s)", expected, DRAW_AGAIN)
    try:
        points = np.array(raw, dtype=np.float64).reshape(count, 2)
    except (TypeError, ValueError, OverflowError):
        raise UserError("point-form", subject, "no pairs of numbers", expected, DRAW_AGAIN) from None
    if not (np.abs(points) <= COORDINATE_LIMIT).all():
        found, expected = f"a coordinate of {np.abs(points).max():g}", f"pixels, at most {COORDINATE_LIMIT:g}"
        raise UserError("point-range", subject, found, expected, DRAW_AGAIN)
    return points


def _parse_mask(subject: str, points: np.ndarray, raw: object) -> np.ndarray:
    image = decode_image(_decode_base64(f"{subject}, mask", raw), f"{subject}, mask")
    mask = image > 0 if image.ndim == 2 else image.any(axis=2)
    left_top, right_bottom = points.astype(int)
    width, height = right_bottom - left_top + 1
    # Moved by fractions of a pixel, the corners may round apart by one.
    if abs(mask.shape[0] - height) > 1 or abs(mask.shape[1] - width) > 1:
        found = f"a mask of {mask.shape[0]}×{mask.shape[1]} (height×width)"
        raise UserError("shape-mask-size", subject, found, f"{height}×{width}, as its points", DRAW_AGAIN)
    return mask
