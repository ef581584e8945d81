"""Content of labelme files for tests, as labelme 5 writes it."""

import base64
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 60
SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30]]


def picture_bytes(
    file_format: str = "PNG", size: tuple[int, int] = (HEIGHT, WIDTH), orientation: int = 1
) -> bytes:
    """A picture without symmetry, of (height, width) before any turning by its EXIF orientation."""
    y, x = np.mgrid[: size[0], : size[1]]
    image = Image.fromarray(np.stack([x * 4, y * 4, x + y], axis=-1).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    image.save(stream, file_format, **({"exif": exif} if orientation != 1 else {}))
    return stream.getvalue()


def png_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def shape_entry(
    label: str = "cell", points: object = SQUARE, shape_type: str | None = "polygon", **more: object
) -> dict:
    return {"label": label, "points": points, "group_id": None, "shape_type": shape_type, "flags": {}, **more}


def box(label: str, low: int, high: int, group_id: object = None) -> dict:
    return shape_entry(label, [[low, low], [high, high]], "rectangle", group_id=group_id)


def labelme_content(*shapes: object, image: bytes | None = None, **more: object) -> dict:
    """image: what to embed; None embeds a PNG of HEIGHT × WIDTH."""
    content = {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": "a.png",
        "imageData": as_base64(picture_bytes() if image is None else image),
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }
    return {**content, **more}


def write_json(path: Path, content: object, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding=encoding)
    return path
