"""The heap of the C library: what is asked of glibc, and that nothing happens where there is none."""

import sys
from types import SimpleNamespace

import pytest

from utils.core import heap


@pytest.fixture(autouse=True)
def untouched(monkeypatch):
    monkeypatch.setattr(heap, "kept", False)


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_other_systems_are_left_alone(monkeypatch, system):
    monkeypatch.setattr(sys, "platform", system)
    assert heap.find_glibc() is None
    assert heap.keep_freed_memory() is False
    assert heap.return_freed_memory() is False


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch):
    """musl, for example."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: SimpleNamespace(malloc=None))
    assert heap.keep_freed_memory() is False


def test_an_older_glibc_gets_the_largest_threshold_it_accepts(monkeypatch):
    calls = []

    def mallopt(option: int, value: int) -> int:
        calls.append((option, value))
        return int(not (option == heap.MMAP_THRESHOLD and value > 1 << 25))

    libc = SimpleNamespace(mallopt=mallopt, malloc_trim=lambda _: 1)
    monkeypatch.setattr(heap, "find_glibc", lambda: libc)
    assert heap.keep_freed_memory() is True
    accepted = [value for option, value in calls if option == heap.MMAP_THRESHOLD][-1]
    assert accepted == 1 << 25
    assert (heap.TRIM_THRESHOLD, (1 << 31) - 1) in calls


class Glibc:
    """Records what is asked of it."""

    def __init__(self):
        self.options, self.trimmed = {}, 0

    def mallopt(self, option: int, value: int) -> int:
        self.options[option] = value
        return 1

    def malloc_trim(self, _: int) -> int:
        self.trimmed += 1
        return 1


def test_memory_is_kept_until_it_is_no_longer_to_be(monkeypatch):
    libc = Glibc()
    monkeypatch.setattr(heap, "find_glibc", lambda: libc)
    heap.stop_keeping_memory()
    assert not libc.options
    assert heap.keep_freed_memory() and heap.keep_freed_memory()
    assert libc.trimmed == 1
    kept = dict(libc.options)
    heap.stop_keeping_memory()
    assert libc.trimmed == 2
    assert all(libc.options[option] <= 1 << 26 < kept[option] for option in kept)
    assert heap.keep_freed_memory()
    assert libc.options == kept
