"""Work in threads beside the main thread: reading, drawing and writing while it computes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Queue
from threading import Thread
from typing import TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int = 1, depth: int = 2
) -> Iterator[Result]:
    """`function` of each item, in order, computed in `threads`; at most `depth` results wait to be used.

    Endless items are fine. An exception of `function` is raised in place of its result.
    """
    pool, waiting = ThreadPoolExecutor(threads), deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def consumer_thread(consume: Callable[[Iterator[Item]], None]) -> Iterator[Callable[[Item], None]]:
    """Run `consume(items)` in a thread and yield a function that pushes the next item to it.

    A push waits until the item before it is in use. An exception of `consume` is raised by the next push or
    at the end of the context. The thread ends with the context.
    """
    # Items wait as tuples of one, and the empty tuple ends them: arrays cannot be compared with an end.
    waiting, failures = Queue(maxsize=1), []

    def work() -> None:
        boxes = iter(waiting.get, ())
        try:
            consume(item for (item,) in boxes)
        except BaseException as error:  # noqa: BLE001 - raised where the next item is pushed
            failures.append(error)
        # A push must not wait for a consumer that has stopped.
        deque(boxes, maxlen=0)

    def push(item: Item) -> None:
        if failures:
            raise failures[0]
        waiting.put((item,))

    thread = Thread(target=work)
    thread.start()
    try:
        yield push
    finally:
        waiting.put(())
        thread.join()
    if failures:
        raise failures[0]
