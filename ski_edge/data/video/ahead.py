"""Clips made by threads while the network works. OpenCV and numpy's copies give up the interpreter lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

Make = Callable[[int], np.ndarray]  # an item's number -> its array; called from any thread
Allocate = Callable[[tuple[int, ...]], np.ndarray]  # shape -> uint8 array to be filled


def read_ahead(
    make: Make, batches: Iterable[np.ndarray], shape: tuple[int, ...], workers: int, allocate: Allocate | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For every array of item numbers [n]: (numbers, uint8 [n, *shape]), in order.

    workers: threads; enough batches to keep all of them busy are begun ahead. 0: everything happens in the caller's
    thread, when asked for. allocate: where batches come from (pinned memory, say). An error of an item is raised at
    its batch; threads end with the iterator.
    """
    allocate = allocate or (lambda size: np.empty(size, np.uint8))
    if not workers:
        for numbers in batches:
            batch = allocate((len(numbers), *shape))
            for slot, number in enumerate(numbers):
                batch[slot] = make(int(number))
            yield numbers, batch
        return

    def fill(batch: np.ndarray, slot: int, number: int) -> None:
        batch[slot] = make(number)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="clips")
    begun: deque[tuple[np.ndarray, np.ndarray, list[Future[None]]]] = deque()
    try:
        for numbers in batches:
            batch = allocate((len(numbers), *shape))
            begun.append((numbers, batch, [pool.submit(fill, batch, i, int(n)) for i, n in enumerate(numbers)]))
            # one batch for the network, and behind it two clips for each thread
            while sum(len(waiting) for _, _, waiting in begun) > len(begun[0][2]) + 2 * workers and len(begun) > 1:
                yield _finished(begun)
        while begun:
            yield _finished(begun)
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(begun: deque[tuple[np.ndarray, np.ndarray, list[Future[None]]]]) -> tuple[np.ndarray, np.ndarray]:
    numbers, batch, waiting = begun.popleft()
    for future in waiting:
        future.result()
    return numbers, batch
