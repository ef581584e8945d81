"""How much memory there is, and a bound that turns too much use of it into an error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from utils.core.processes import processes_here

CGROUP = Path("/sys/fs/cgroup")
# Limit, use and its parts of a container, of both versions of Linux's control groups.
CGROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)
# Files that were read or written stay in memory until it is wanted for something else.
CACHED = ("inactive_file", "active_file"), ("total_inactive_file", "total_active_file")


def available_memory(cgroup: Path = CGROUP) -> int:
    """Bytes that this process may still take of the machine or the container, its share among processes."""
    free = [psutil.virtual_memory().available]
    for (limit, used, parts), cached in zip(CGROUP_FILES, CACHED, strict=True):
        if (cgroup / limit).is_file() and (found := (cgroup / limit).read_text("utf-8").strip()) != "max":
            lines = (cgroup / parts).read_text("utf-8").splitlines() if (cgroup / parts).is_file() else []
            sizes = dict(line.split() for line in lines)
            files = sum(int(sizes.get(name, 0)) for name in cached)
            free.append(int(found) - int((cgroup / used).read_text("utf-8")) + files)
    return max(min(free), 0) // processes_here()


@contextmanager
def bounded_memory(extra: int) -> Iterator[None]:
    """Linux refuses what goes beyond `extra` bytes more than now, which raises RuntimeError or MemoryError.

    Otherwise it would grant all that is asked for, and kill the process, or another, when it is used. Other
    systems refuse by themselves.
    """
    if sys.platform != "linux":
        yield
        return
    import resource  # there is none on Windows

    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("utf-8").splitlines())
    bound = int(status["VmData"].split()[0]) * 1024 + extra
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (bound, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
