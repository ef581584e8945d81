"""The pictures of a folder: which are predicted, and the share of them that one process does."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.core.console import UserError, warn
from utils.core.threads import map_ahead
from utils.inference.outputs import Source, refuse_same_folder
from utils.inference.results import Picture, Predict, ResultWriter
from utils.voc.folder import walk_images
from utils.voc.strangers import describe_strangers, is_stranger


@dataclass(eq=False)
class Share:
    """What one process did: pictures done, pixels per class (256,), pictures of one class only, faults."""

    done: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    one_class: int = 0
    faults: list[str] = field(default_factory=list)


def list_sources(folder: Path, writer: ResultWriter) -> tuple[list[Source], list[str]]:
    """The pictures of a folder and of those below, without those whose results would share a file name.

    Also the faults of those left out. Raises UserError if the folder has no pictures or is the writer's own.
    """
    refuse_same_folder(folder, writer.output)
    paths = walk_images(folder, writer.output)
    strangers = describe_strangers(walk_images(folder, writer.output, is_stranger))
    if not paths:
        found, remedy = "no picture in this folder or below it", "; ".join(strangers) or "check the path"
        raise UserError("folder-without-pictures", folder, found, "pictures", remedy)
    for line in strangers:
        warn(line)
    sources, faults, owners = [], [], {}
    for path in paths:
        source = Source(path, path.relative_to(folder).as_posix())
        files = writer.files(source)
        if fault := files.name_fault(source):
            faults.append(str(fault))
            continue
        # In lower case, because some systems do not tell case apart.
        names = [str(each).lower() for each in files.claimed]
        if clash := next((name for name in names if name in owners), None):
            found = f"{owners[clash].name} has the same name and would share its result {Path(clash).name}"
            fault = UserError("result-name-twice", path, found, "one picture per name", "rename one of them")
            faults.append(str(fault))
            continue
        owners |= dict.fromkeys(names, path)
        sources.append(source)
    return sources, faults


def predict_share(
    sources: Sequence[Source],
    writer: ResultWriter,
    open_picture: Callable[[Path], Picture],
    predict: Predict,
    watch: Callable[[Iterable], Iterable] = iter,
) -> Share:
    """Predict the pictures of one process, read ahead in threads. watch: passes them on, and shows progress.

    A picture that cannot be read is a fault of the share; any other UserError is raised.
    """

    def read(source: Source) -> tuple[Source, Picture | UserError]:
        try:
            return source, open_picture(source.path)
        except UserError as error:
            return source, error

    share = Share()
    # Closed even where a picture ends the run, so that no reader goes on.
    with closing(map_ahead(read, sources, threads=2, depth=1)) as pictures:
        for source, picture in watch(pictures):
            try:
                if isinstance(picture, UserError):
                    raise picture
                result = writer.write(source, picture, predict)
            except UserError as error:
                if error.subject != str(source.path):
                    raise
                share.faults.append(str(error))
                continue
            share.done += 1
            share.counts += result.counts
            share.one_class += result.only_class is not None
    return share
