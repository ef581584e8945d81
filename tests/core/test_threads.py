"""Work that runs ahead in threads."""

import threading
from itertools import count, islice

import pytest

from utils.core.threads import map_ahead


def workers():
    # PyTorch's compiler keeps a pool of its own for as long as the process lives.
    return {thread for thread in threading.enumerate() if "ThreadPool" in thread.name}


def test_work_ahead_is_in_order_bounded_and_ends_with_its_taker():
    started, before = [], workers()

    def work(number):
        started.append(number)
        return number * number

    results = map_ahead(work, count(), threads=3, depth=4)
    assert list(islice(results, 10)) == [n * n for n in range(10)]
    assert sorted(started) == list(range(len(started)))
    assert len(started) <= 10 + 4
    results.close()
    assert workers() <= before
    with pytest.raises(ZeroDivisionError):
        list(map_ahead(lambda n: 1 // n, [2, 1, 0, 1]))
