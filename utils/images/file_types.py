"""The one list of types of picture files: those that are read, and what to do with the others."""

from pathlib import Path

from utils.core.console import UserError, quoted

# Ending → what Pillow calls the type. HEIF comes from pillow-heif.
READ_TYPES = {
    **dict.fromkeys((".jpg", ".jpeg"), "JPEG"),
    ".png": "PNG",
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".gif": "GIF",
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "PPM"),
    ".jfif": "JPEG",
    **dict.fromkeys((".jp2", ".j2k"), "JPEG2000"),
    ".avif": "AVIF",
    **dict.fromkeys((".heic", ".heif"), "HEIF"),
}
IMAGE_SUFFIXES = tuple(READ_TYPES)
PICTURE = f"a picture: {' '.join(IMAGE_SUFFIXES)}"
# MPO: a JPEG with a second picture behind it, as telephones write.
PILLOW_TYPES = {*READ_TYPES.values(), "MPO"}
# {place} is the file or folder, {folder} the folder, as a shell takes them.
IMPORT = "import them: python import_dataset.py --input {place} --voc-root NEW"
# Each array in and below a folder becomes a TIFF beside it.
NUMPY = (
    'python -c "import sys, pathlib, numpy, tifffile; '
    "[tifffile.imwrite(p.with_suffix('.tif'), numpy.load(p)) "
    "for p in pathlib.Path(sys.argv[1]).rglob('*.npy')]\" {folder}"
)
RAW = "develop them to TIFF or JPEG, as the camera's program does"
MICROSCOPE = "open them in ImageJ (Bio-Formats) and save them as TIFF"
DRAWING = "export them as PNG"
# First bytes → the ending of files that have another name.
SIGNATURES = {b"8BPS": ".psd", b"%PDF": ".pdf", b"%!PS": ".eps"}
# Ending → type, and the way out. Libraries read part of some: the preview of a camera's raw file, or the
# white picture that a PSD may hold in place of its layers.
FOREIGN_TYPES: dict[str, tuple[str, str]] = {
    **dict.fromkeys((".dcm", ".dicom", ".ima"), ("DICOM", IMPORT)),
    **dict.fromkeys((".nii", ".nii.gz"), ("NIfTI", IMPORT)),
    **dict.fromkeys(
        (".mha", ".mhd", ".nrrd"), ("ITK volume", f"convert them to NIfTI (.nii.gz) and {IMPORT}")
    ),
    ".npy": ("NumPy array", NUMPY),
    ".npz": ("NumPy archive", 'tifffile.imwrite("x.tif", numpy.load("x.npz")["NAME OF THE ARRAY"])'),
    ".mat": ("MATLAB array", 'imwrite(uint8(x), "x.png") in MATLAB'),
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"), ("camera raw", RAW)),
    **dict.fromkeys((".czi", ".lif", ".nd2", ".oib", ".oif", ".vsi", ".lsm"), ("microscope", MICROSCOPE)),
    **dict.fromkeys((".svs", ".ndpi", ".mrxs", ".scn"), ("slide scan", "export regions as TIFF, in QuPath")),
    **dict.fromkeys((".psd", ".xcf", ".svg", ".eps", ".pdf", ".ai"), ("drawing or document", DRAWING)),
    **dict.fromkeys((".tga", ".pcx", ".dds", ".sgi"), ("picture of a rare type", DRAWING)),
    **dict.fromkeys((".exr", ".hdr"), ("high dynamic range", "export them as 16-bit TIFF")),
}


def foreign_type(path: str | Path, folder: Path | None = None) -> tuple[str, str] | None:
    """The type of a file and what to do with it; None for a picture that is read, and for what is none.

    folder: what to do with all such files in and below it.
    """
    path = Path(path)
    if not (ending := _foreign_ending(path)):
        return None
    kind, way_out = FOREIGN_TYPES[ending]
    return kind, way_out.format(place=quoted(folder or path), folder=quoted(folder or path.parent))


def foreign_content(data: bytes) -> tuple[str, str] | None:
    """Like `foreign_type`, from the first bytes of a file, whatever its name."""
    ending = ".dcm" if data[128:132] == b"DICM" else SIGNATURES.get(data[:4])
    return foreign_type(f"FILE{ending}") if ending else None


def _foreign_ending(path: Path) -> str:
    name = path.name.lower()
    return max((ending for ending in FOREIGN_TYPES if name.endswith(ending)), key=len, default="")


def bare_stem(path: Path) -> str:
    """`a.b` for `a.b.png` and `a.b.nii.gz`."""
    ending = _foreign_ending(path)
    return path.name[: -len(ending)] if ending else path.stem


def foreign_file(subject: str | Path, kind: str, way_out: str) -> UserError:
    return UserError("picture-type", subject, f"a {kind} file", PICTURE, way_out)


def refuse_foreign(path: Path) -> None:
    """Raises UserError for a file of a type that is not read, even where a library would take part of it."""
    if (known := foreign_type(path)) and path.is_file():
        raise foreign_file(path, *known)
