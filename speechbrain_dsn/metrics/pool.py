"""A pool of processes that survives the death of one of its own.

`concurrent.futures` gives up all its work when a worker dies, and
`multiprocessing.Pool` waits for ever for what the worker was doing. Compiled
metrics do die, so here only the item that kills its process is lost.

Authors
 * The speechbrain_dsn developers 2026
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any

__all__ = ["map_in_processes"]


def map_in_processes(
    function: Callable[[Any], Any], items: Iterable[Any], workers: int
) -> Iterator[tuple[int, Any]]:
    """Apply a function to items in spawned processes, as they come.

    When a process dies, the items that were under way are tried again one by
    one, and only the one that kills its process again is given up. Processes
    end at once when the caller is interrupted, stops listening or dies.

    Arguments
    ---------
    function : Callable
        Can be pickled; reports its own errors through its result.
    items : Iterable
        Can be pickled.
    workers : int
        Number of processes.

    Returns
    -------
    Iterator[tuple[int, Any]]
        Place of the item and result, in the order of completion; the result
        is a `BrokenProcessPool` for an item that killed its process.
    """
    waiting, suspects = deque(enumerate(items)), deque()
    while waiting or suspects:
        alone = not waiting
        queue, count = (suspects, 1) if alone else (waiting, workers)
        running: dict = {}
        try:
            with _processes(min(count, len(queue))) as pool:
                while queue or running:
                    # A small surplus keeps every process busy, and few items
                    # come under suspicion if one dies.
                    while queue and len(running) < (1 if alone else 2 * count):
                        future = pool.submit(function, queue[0][1])
                        running[future] = queue.popleft()
                    for future in wait(running, None, FIRST_COMPLETED).done:
                        result = future.result()
                        index, _ = running.pop(future)
                        yield index, result
        except BrokenProcessPool as error:
            if alone:
                yield from ((index, error) for index, _ in running.values())
            else:
                suspects.extend(running.values())


@contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of processes that end at once if anything goes wrong."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), _start_worker
    )
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
