"""A folder that is to be recognised: its files, each read once, and the pictures that annotations name."""

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from utils.core.console import UserError, counted
from utils.core.files import read_bytes
from utils.voc.folder import is_image

# The names under which data sets keep their official splits → ours.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "imagestr", "labelstr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "imagests", "labelsts"), "test"),
}


class Tree:
    """The files in and below `root`, which may also be one annotation file. Hidden ones do not count.

    images: a further folder of pictures.
    """

    def __init__(self, root: Path, images: Path | None = None):
        if not root.exists():
            expected, remedy = "a folder with a data set, or its file of annotations", "check the path"
            raise UserError("input-missing", root, "no such file or folder", expected, remedy)
        self.root = root if root.is_dir() else root.parent
        self.annotations = None if root.is_dir() else root
        self.images = images
        self.read_json = cache(self._read_json)

    @cached_property
    def files(self) -> list[Path]:
        """All files of the root, sorted. Of an annotation file that was passed as input, only itself."""
        return [self.annotations] if self.annotations else list(walk(self.root))

    def with_suffix(self, *suffixes: str) -> list[Path]:
        return [path for path in self.files if path.name.lower().endswith(suffixes)]

    def has(self, *parts: str) -> bool:
        return all((self.root / part).exists() for part in parts)

    @cached_property
    def pictures(self) -> list[Path]:
        """Pictures of the root and of `images`, masks among them."""
        folders = [self.root] + [self.images] * (self.images is not None)
        return [path for folder in folders for path in walk(folder) if is_image(path)]

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        found = defaultdict(list)
        for path in self.pictures:
            found[path.stem.lower()].append(path)
        return found

    def find_picture(self, stated: str, source: Path) -> Path:
        """The picture that an annotation file `source` names, by a path of any system or a URL.

        Of several with this name, the one whose folders agree best with the stated path, then with those of
        the annotation file. Raises UserError for none, and for two that fit equally well.
        """
        parts = PureWindowsPath(stated.split("?")[0]).parts or ("",)
        stem = PurePosixPath(parts[-1]).stem.lower()
        candidates = self._by_stem.get(stem, [])
        if self.images and any(path.is_relative_to(self.images) for path in candidates):
            candidates = [path for path in candidates if path.is_relative_to(self.images)]
        ranked = sorted(candidates, key=lambda path: _agreement(path, parts, source), reverse=True)
        best = [
            path for path in ranked if _agreement(path, parts, source) == _agreement(ranked[0], parts, source)
        ]
        if len(best) == 1:
            return best[0]
        expected = f"the picture {stated}, which {source.name} names"
        found = (
            f"{counted(len(best), 'picture')} of this name: {best[0]} and {best[1]}"
            if best
            else "no such picture"
        )
        remedy = "remove one of them" if best else "put the pictures there, or pass their folder as --images"
        raise UserError("picture-of-annotation", self.images or self.root, found, expected, remedy)

    def _read_json(self, path: Path) -> object:
        """Content of a JSON file; None if it holds none."""
        try:
            return json.loads(read_bytes(path, "JSON", "check the path").decode("utf-8-sig"))
        except (ValueError, RecursionError):
            return None


def walk(folder: Path) -> Iterable[Path]:
    """Files in and below a folder, sorted, without hidden ones and what macOS and Windows leave behind."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "$", "__MACOSX")))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _agreement(path: Path, parts: tuple[str, ...], source: Path) -> tuple[bool, int, int, int]:
    """How well a picture fits a stated path: ending, folders, and the split and folders of `source`."""
    folders = 0
    for own, other in zip(reversed(path.parts[:-1]), reversed(parts[:-1]), strict=False):
        if own != other:
            break
        folders += 1
    shared = sum(part in source.parts for part in path.parts)
    return path.name.lower() == parts[-1].lower(), folders, split_of(path) == split_of(source), shared


def split_of(path: Path) -> str | None:
    """train, val or test, where a folder or the words of a file name say so; the innermost counts."""
    for part in (path.stem, *reversed(path.parts[:-1])):
        words = [part.lower(), *part.lower().replace("-", "_").replace(".", "_").split("_")]
        for word in words:
            word = word.removesuffix("annot").rstrip("0123456789")
            if word in SPLIT_NAMES:
                return SPLIT_NAMES[word]
    return None
