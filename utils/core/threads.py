"""Work in threads beside the main thread: reading, drawing and writing while it computes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import Full, Queue
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
    waiting = Queue(maxsize=1)
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(consume, (item for (item,) in iter(waiting.get, ())))

        def put(box: tuple[()] | tuple[Item]) -> None:
            # Nobody empties the queue of a consumer that has stopped.
            while not work.done():
                with suppress(Full):
                    waiting.put(box, timeout=0.1)
                    break

        def push(item: Item) -> None:
            put((item,))
            if work.done():
                work.result()

        try:
            yield push
        finally:
            put(())
    work.result()
