"""A folder that is to be recognised: its files, each read once, and the pictures that annotations name."""

import json
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import cache, cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from utils.core.console import UserError, counted
from utils.core.files import read_bytes
from utils.importing.labelme_record import RECORD_NAME
from utils.voc.folder import is_image
from utils.voc.strangers import describe_strangers

RECORDS = ("import_record.json", RECORD_NAME)
HEAD = 1 << 14  # bytes of a text file that tell its format
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
    def _beside(self) -> list[Path]:
        """All files of the root and of `images`, which may lie in it: each once."""
        folders = [self.root] + [self.images] * (self.images is not None)
        return list(
            {path.parent.resolve() / path.name: path for folder in folders for path in walk(folder)}.values()
        )

    @cached_property
    def pictures(self) -> list[Path]:
        """Pictures of the root and of `images`, masks among them."""
        return list(filter(is_image, self._beside))

    def describe_missing(self, missing: Sequence[str]) -> list[str]:
        """Remarks on files that annotations name, but that are not there or of a type that is not read."""
        if not missing:
            return []
        first = f"{counted(len(missing), 'file')} not found, such as {missing[0]}: left out"
        return [first, *describe_strangers(self._beside, importing=True)]

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        found = defaultdict(list)
        for path in self.pictures:
            found[path.stem.lower()].append(path)
        return found

    def find_picture(
        self, stated: Sequence[str], source: Path, missing: list[str], others: Collection[Path] = ()
    ) -> Path | None:
        """The picture that an annotation file `source` names, by paths of any system or URLs, the best first.

        Of several with this name, the one whose folders agree best with the stated path, then with those of
        the annotation file. None, and its name added to `missing`, if there is none. others: files that are
        no pictures but masks. Raises UserError for two that fit equally well.
        """
        candidates = []
        for name in stated:
            parts = PureWindowsPath(unquote(name)).parts or ("",)
            named = self._by_stem.get(PurePosixPath(parts[-1]).stem.lower(), [])
            if candidates := [path for path in named if path not in others]:
                break
        ranked = sorted(((self._agreement(path, parts, source), path) for path in candidates), reverse=True)
        if not ranked:
            missing.append(stated[0])
            return None
        if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
            found = f"two pictures of this name: {ranked[0][1]} and {ranked[1][1]}"
            expected, remedy = f"one picture {stated[0]}, which {source} names", "remove one of them"
            raise UserError("picture-twice", self.root, found, expected, remedy)
        return ranked[0][1]

    def _agreement(self, path: Path, parts: tuple[str, ...], source: Path) -> tuple[int, ...]:
        """How well a picture fits a stated path: --images, ending, folders, split and folders of `source`."""
        folders = 0
        for own, other in zip(reversed(path.parts[:-1]), reversed(parts[:-1]), strict=False):
            if own != other:
                break
            folders += 1
        shared = sum(part in source.parts for part in path.parts)
        passed = self.images is not None and path.is_relative_to(self.images)
        same_split = self.split_of_picture(path) == self.split_of(source)
        return passed, path.name.lower() == parts[-1].lower(), folders, same_split, shared

    def split_of(self, path: Path) -> str | None:
        """train, val or test, where a folder below the root or a word of the file's name says so."""
        parts = path.relative_to(self.root).parts if path.is_relative_to(self.root) else path.parts[-1:]
        for part in reversed(parts):
            for word in re.split(r"[-_. 0-9]+", part.lower()):
                if (split := SPLIT_NAMES.get(word.removesuffix("annot"))) is not None:
                    return split
        return None

    def split_of_picture(self, path: Path) -> str | None:
        """By the folders below the root alone: a name such as test_image.png says nothing."""
        return self.split_of(path.parent) if path.is_relative_to(self.root) else None

    def files_with(self, suffix: str, *words: str) -> list[Path]:
        """Text files with this ending whose first bytes hold one of the words."""
        encoded = [word.encode() for word in words]
        return [
            path for path in self.with_suffix(suffix) if any(word in self.read_head(path) for word in encoded)
        ]

    def read_head(self, path: Path) -> bytes:
        with path.open("rb") as file:
            return file.read(HEAD)

    def _read_json(self, path: Path) -> object:
        """Content of a JSON file; None if it holds none."""
        try:
            return json.loads(read_bytes(path, "JSON", "check the path").decode("utf-8-sig"))
        except (ValueError, RecursionError):
            return None


def walk(folder: Path) -> Iterable[Path]:
    """Files in and below a folder, sorted, without hidden ones and what macOS and Windows leave behind.

    VOC folders below it that an import or a conversion has filled do not count.
    """
    for place, folders, names in os.walk(folder):
        kept = (name for name in folders if not name.startswith((".", "$", "__MACOSX")))
        folders[:] = sorted(
            name for name in kept if not any(Path(place, name, one).exists() for one in RECORDS)
        )
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))
