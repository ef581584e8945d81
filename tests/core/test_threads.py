"""Work that runs ahead in threads."""

import threading
from itertools import count, islice

import numpy as np
import pytest

from utils.core.threads import consumer_thread, map_ahead


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


def test_pushed_items_are_consumed_in_order_and_at_hand():
    consumed, ahead = [], []

    def consume(items):
        consumed.extend(items)

    before = set(threading.enumerate())
    with consumer_thread(consume) as push:
        for number in range(50):
            push(np.full(3, number))
            ahead.append(number + 1 - len(consumed))
    assert [item[0] for item in consumed] == list(range(50))
    # One waits, one is about to be consumed.
    assert max(ahead) <= 3
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("pushes", [0, 1, 100])
@pytest.mark.parametrize("taken", [0, 1])
def test_what_stops_a_consumer_is_raised_where_items_are_pushed(pushes, taken):
    def consume(items):
        for _ in range(taken):
            next(items, None)
        raise OSError(28, "No space left on device")

    before = set(threading.enumerate())
    with pytest.raises(OSError, match="No space left"), consumer_thread(consume) as push:
        for number in range(pushes):
            push(number)
    assert set(threading.enumerate()) <= before


def test_an_error_of_the_one_who_pushes_ends_the_thread():
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt), consumer_thread(list) as push:
        push(1)
        raise KeyboardInterrupt
    assert set(threading.enumerate()) <= before
