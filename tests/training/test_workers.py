"""Processes that load pictures: how they start, fail and die."""

import multiprocessing
import os
import signal
import sys

import pytest
import torch
from scripts import make_voc, refused, start

from utils.training.samples import SegmentationDataset, make_loader

METHODS = sorted({"spawn", "fork"} & set(multiprocessing.get_all_start_methods()))


@pytest.fixture(params=METHODS)
def method(request):
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(request.param, force=True)
    yield request.param
    multiprocessing.set_start_method(before, force=True)


def loader(folder, channels=1, batches=((0, 1), (2, 0)), workers=1):
    dataset = SegmentationDataset(folder, list(folder.images), channels)
    return make_loader(dataset, [list(keys) for keys in batches], workers, torch.device("cpu"))


def test_spawned_and_forked_processes_read_the_same(tmp_path, method):
    folder = make_voc(tmp_path)
    for found, expected in zip(loader(folder), loader(folder, workers=0), strict=True):
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_a_picture_that_fails_is_named_with_its_error(tmp_path, method):
    folder = make_voc(tmp_path)
    folder.image_path("cells_1").write_bytes(b"no picture")
    with refused("picture-format", folder.image_path("cells_1")):
        list(loader(folder))
    # A bug, not a mistake of the user.
    with pytest.raises(RuntimeError, match=r"cells_0\.png: ValueError"):
        list(loader(folder, channels="three"))


KILL = """
import os, signal, sys
import torch
from utils.core.console import memory_error
from utils.training.samples import SegmentationDataset, make_loader
from utils.voc.folder import VocFolder

folder = VocFolder(sys.argv[1])
dataset = SegmentationDataset(folder, list(folder.images), 1)
batches = make_loader(dataset, [[0]] * 500, 1, torch.device("cpu"))
try:
    try:
        for number, _ in enumerate(batches):
            if number == 1:
                os.kill(batches._iterator._workers[0].pid, signal.SIGKILL)
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler would raise once more
except RuntimeError as error:  # of the loop, or of the handler while the loop was left
    print(memory_error(error).code, flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_process_that_is_killed_is_reported(tmp_path):
    # In a process of its own, where PyTorch's handler of dead children can raise at any time.
    assert start(["-c", KILL, str(make_voc(tmp_path).root)], tmp_path).stdout.strip() == "worker-killed"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_the_main_process_decides_what_a_signal_means(tmp_path):
    """Ctrl-C reaches all processes of a terminal, and schedulers send SIGTERM to all of a job."""
    batches, count = loader(make_voc(tmp_path), batches=[[0]] * 30), 0
    for number, _ in enumerate(batches):
        if number == 1:
            for signum in (signal.SIGINT, signal.SIGTERM):
                os.kill(batches._iterator._workers[0].pid, signum)
        count += 1
    assert count == 30
