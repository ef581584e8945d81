"""What benchmarks share: clocks, peak memory, the machine's matrix rate, a process per row, Markdown."""

import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from utils.core.console import UserError
from utils.core.files import replacing, write_lines
from utils.images.writing import write_image, write_mask
from utils.voc.demo import CLASS_NAMES, draw_sample
from utils.voc.folder import VocFolder

Batch = TypeVar("Batch")


def in_child(function: Callable, *arguments: Any) -> Any:
    """`function(*arguments)` in a fresh process, so that its peak memory and its caches are its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done its work; a clock would measure the launching otherwise."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median of `repeats` calls, after one that does not count."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def timed(
    batches: Iterable[Batch], seconds: list[float], device: torch.device, block: int = 1
) -> Iterator[Batch]:
    """The batches; `seconds` gets the time per step, loading included, of every `block` steps.

    A GPU is waited for only once per block, because waiting keeps it from working ahead.
    """
    start = time.perf_counter()
    for index, batch in enumerate(batches, 1):
        yield batch
        if index % block == 0:
            synchronise(device)
            now = time.perf_counter()
            seconds.append((now - start) / block)
            start = now


def peak_bytes(device: torch.device) -> int:
    """Most memory that this process held at once (on CUDA: that PyTorch held on the card)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def matrix_rate(precision: str, device: torch.device, quick: bool = False) -> float:
    """FLOP per second of the product of two large matrices in `precision`: the machine's ceiling."""
    dtype, side = getattr(torch, precision), 256 if quick else 8192 if device.type == "cuda" else 4096
    # Convolutions in float32 use TF32 on CUDA unless forbidden; so does the ceiling.
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else "highest")
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(6):
        synchronise(device)
        start = time.perf_counter()
        torch.mm(a, b)
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds[1:])


def forward_flop(make_net: Callable[[], nn.Module], size: int) -> int:
    """FLOP (two per multiply-add) of one picture (3, size, size) through a network; nothing is computed."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        make_net().eval()(torch.zeros(1, 3, size, size))
    return counter.get_total_flops()


def draw_folder(root: Path, count: int, size: int) -> VocFolder:
    """A VOC folder of `count` drawn pictures of three classes, all of them in the split train."""
    folder = VocFolder(root)
    names = [f"cells_{index}" for index in range(count)]
    for index, name in enumerate(names):
        image, mask = draw_sample(index, size)
        write_image(folder.images_dir / f"{name}.png", image)
        write_mask(folder.mask_path(name), mask)
    write_lines(folder.class_names_path, CLASS_NAMES)
    folder.write_split("train", names)
    return folder


def choose_folder(voc_root: Path | None, quick: bool, root: Path) -> VocFolder:
    """The VOC folder asked for; with `quick` a drawn one: two pictures to train, two to validate."""
    if quick:
        folder = draw_folder(root / "voc", 4, 64)
        folder.write_split("train", ["cells_0", "cells_1"])
        folder.write_split("val", ["cells_2", "cells_3"])
        return folder
    if voc_root is None:
        expected = "a VOC folder, such as VOCdevkit/isbi of the tutorial"
        raise UserError("folder-not-given", "--voc-root", "no folder", expected, "pass one")
    return VocFolder(voc_root)


def describe_machine(device: torch.device) -> str:
    """One line: processor or card, threads, system, versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    system = f"{platform.system()}, Python {platform.python_version()}, PyTorch {torch.__version__}"
    return f"{name}, {torch.get_num_threads()} threads of {os.cpu_count()} cores; {system}"


def processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def learning_curve(
    train: Callable[[], object],
    validate: Callable[[], float],
    minutes: float,
    least: int = 1,
    start: float = 0,
) -> Iterator[tuple[float, float]]:
    """(minutes since `start`, score) of each epoch, until the time is over, but of `least` epochs."""
    elapsed = count = 0
    while count < least or elapsed < minutes:
        train()
        score = validate()
        elapsed, count = (time.perf_counter() - start) / 60, count + 1
        yield elapsed, score


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its first column is text, the others are aligned to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def report(title: str, text: str, output: Path | None) -> None:
    """Print the text, and write it under a title where a file is asked for."""
    print(f"\n{text}")
    if output:
        with replacing(output) as temporary:
            temporary.write_text(f"# {title}\n\n{text}\n", encoding="utf-8", newline="\n")
