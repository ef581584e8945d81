"""Types of picture files that are not read, and what to do with them."""

from pathlib import Path

from utils.core.console import quoted

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
# Ending → type, and the way out.
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
    **dict.fromkeys((".exr", ".hdr"), ("high dynamic range", "export them as 16-bit TIFF")),
}


def foreign_type(path: str | Path, folder: Path | None = None) -> tuple[str, str] | None:
    """The type of a file and what to do with it; None for a picture that is read, and for what is none.

    folder: what to do with all such files in and below it.
    """
    path = Path(path)
    name = path.name.lower()
    known = next((FOREIGN_TYPES[ending] for ending in FOREIGN_TYPES if name.endswith(ending)), None)
    if known is None:
        return None
    kind, way_out = known
    return kind, way_out.format(place=quoted(folder or path), folder=quoted(folder or path.parent))
