"""How fast this machine reads: from the second cache, the last cache and memory.

The reader is the C library's `memchr`, looking for a byte that is not there: it loads whole vectors, keeps nothing,
runs without Python's lock, and is no code of ours. GB are 10^9 bytes.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_ASSUMED = {2: 1 << 20, 3: 32 << 20}  # where the system does not tell
_REPEATS = 20


def cache_bytes() -> dict[int, int]:
    """Level -> bytes: of a core's own second cache, and of the last one."""
    found = dict(_ASSUMED)
    for folder in sorted(_CACHES.glob("index*")):
        if (folder / "type").read_text().strip() == "Unified":
            size = (folder / "size").read_text().strip()
            found[int((folder / "level").read_text())] = int(size[:-1]) << {"K": 10, "M": 20}[size[-1]]
    return found


def read_gb_per_s(threads: int) -> dict[str, float]:
    """GB/s that so many threads read together; of the second cache, which every core has: one thread's times them."""
    caches = cache_bytes()
    last = max(caches)
    return {
        "l2": threads * _rate(caches[2] * 3 // 4, 1),
        # Beyond all second caches, within a quarter of the last one: others may use it as well.
        "last_cache": _rate(max(2 * caches[2], caches[last] // (4 * threads)), threads),
        "memory": _rate(max(4 * caches[last], 128 << 20), threads),
    }


def evict() -> Iterator[None]:
    """Each `next` fills the caches of all cores with something else."""
    caches, cores = cache_bytes(), os.cpu_count() or 1
    others = [np.zeros(max(4 * caches[max(caches)] // cores, 4 * caches[2]), np.uint8) for _ in range(cores)]
    with ThreadPoolExecutor(cores) as pool:
        while True:
            list(pool.map(lambda other: np.add(other, 1, out=other), others))
            yield


def _rate(size: int, threads: int) -> float:
    """GB/s of reading `size` bytes of its own in each thread, the fastest of several runs."""
    find = ctypes.CDLL(None).memchr
    find.restype, find.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    rounds = max(1, (64 << 20) // size)
    data = [np.full(size, 7, np.uint8) for _ in range(threads)]  # written: pages of zeros would all be the same page
    call = min(_seconds(find, [data[0].ctypes.data], 0, rounds) for _ in range(_REPEATS))
    best = min(_seconds(find, [each.ctypes.data for each in data], size, rounds) for _ in range(_REPEATS))
    return threads * size * rounds / (best - (call if threads == 1 else 0)) / 1e9


def _seconds(find, places: list[int], size: int, rounds: int) -> float:
    def read(place: int) -> None:
        start.wait()
        for _ in range(rounds):
            find(place, 1, size)

    start = threading.Barrier(len(places) + 1)
    workers = [threading.Thread(target=read, args=(place,)) for place in places]
    for worker in workers:
        worker.start()
    began = time.perf_counter()
    start.wait()
    for worker in workers:
        worker.join()
    return time.perf_counter() - began


if __name__ == "__main__":
    for count in (1, 2):
        print(count, "threads,", ", ".join(f"{name} {rate:.1f} GB/s" for name, rate in read_gb_per_s(count).items()))
