"""The heap of the C library: what is asked of glibc, and that nothing happens where there is none."""

import sys
from types import SimpleNamespace

import pytest

from utils.core import heap


@pytest.fixture(autouse=True)
def fresh_cache():
    heap.keep_freed_memory.cache_clear()
    yield
    heap.keep_freed_memory.cache_clear()


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


def test_the_heap_is_changed_once_per_process(monkeypatch):
    calls = []
    libc = SimpleNamespace(mallopt=lambda *_: 1, malloc_trim=calls.append)
    monkeypatch.setattr(heap, "find_glibc", lambda: libc)
    assert heap.keep_freed_memory() and heap.keep_freed_memory()
    assert calls == [0]
