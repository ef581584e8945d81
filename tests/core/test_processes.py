"""Several processes: cores and devices of each, what the first alone says, whose failure is reported."""

import sys

import pytest
import torch
import torch.distributed as dist

from utils.core import processes
from utils.core.processes import device_of_process, from_first, is_first_failure, is_lost_connection, quiet


@pytest.mark.parametrize(("typed", "expected"), [(None, [4]), ("1", [4]), ("3", [])])
def test_processes_share_the_cores_unless_told_otherwise(monkeypatch, typed, expected):
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(processes.os, "sched_getaffinity", lambda _: range(9), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if typed:
        monkeypatch.setenv("OMP_NUM_THREADS", typed)
    processes.share_cores()
    assert threads == expected


def test_each_process_has_a_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of_process("auto") == "auto"
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device_of_process("auto") == "cuda:1"
    assert device_of_process("cpu") == "cpu"


def test_one_process_is_the_first_and_needs_nobody():
    assert from_first(lambda: 7) == 7


def test_only_the_first_failure_is_reported():
    store = dist.HashStore()
    assert is_first_failure(store, 1)
    assert not is_first_failure(store, 0)


def test_a_connection_that_broke_is_told_from_a_bug():
    broken = RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer")
    assert is_lost_connection(broken)
    assert is_lost_connection(dist.DistBackendError("NCCL communicator was aborted"))
    assert not is_lost_connection(RuntimeError("shapes cannot be multiplied"))
    assert not is_lost_connection(ValueError("gloo"))


def test_other_processes_say_nothing(capsys):
    for silent in (True, False):
        with quiet(silent):
            print(f"out {silent}")
            print(f"err {silent}", file=sys.stderr)
    assert capsys.readouterr() == ("out False\n", "err False\n")
