"""Processes beside this one that compute a function of many items, ahead of who uses the results.

They are new processes, not copies of this one, whose threads and GPU a copy could not use. Unlike
those of the standard library they do not import the main module, which may be anybody's script, do
not outlive this process, however it ends, and are missed when one of them is killed.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue
from typing import Any, TypeVar

from salcr.errors import SalcrError

Result = TypeVar("Result")

_ITEMS_AT_ONCE = 16
_ITEMS_AHEAD = 512  # that are computed and not yet used, in memory
_ITEMS_WORTH_A_START = 500  # half a second for the start, a millisecond for a picture
_MOST = 8  # a card is then given more pictures than it can compute with
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def sensible_number(num_items: int, *, threads: int) -> int:
    """Return how many processes, beside the threads of this one, are worth their start."""
    free = len(os.sched_getaffinity(0)) - threads
    return max(1, min(_MOST, free, num_items // _ITEMS_WORTH_A_START))


def apply(
    function: Callable[..., Result], items: Iterable[tuple[Any, ...]], *, processes: int
) -> Generator[Result, None, None]:
    """Yield function(*item) for each item, in order. To be closed, which ends the processes.

    Args:
        function: of a module, with arguments and a result that can be pickled.
        items: arguments.
        processes: that compute; with fewer than two, this one does when a result is used.

    Raises:
        Exception: what the function raises, for the first item for which it does.
        SalcrError: a process was killed.
    """
    if processes < 2:
        yield from itertools.starmap(function, items)
        return
    workers = [_Worker() for _ in range(processes)]
    idle: SimpleQueue[_Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def compute(chunk: list[tuple[Any, ...]]) -> list[Result]:
        worker = idle.get()
        try:
            return worker.compute(function, chunk)
        finally:
            idle.put(worker)

    remaining = iter(items)
    pending: deque[Future[list[Result]]] = deque()
    with ThreadPoolExecutor(processes) as threads:  # each waits for the answer of a process
        try:
            while chunk := list(itertools.islice(remaining, _ITEMS_AT_ONCE)):
                pending.append(threads.submit(compute, chunk))
                if len(pending) * _ITEMS_AT_ONCE > _ITEMS_AHEAD:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            for worker in workers:
                worker.end()  # before its thread can


class _Worker:
    """A process that computes what it is sent until its connection is closed."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve("
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"{code}{theirs.fileno()})"],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **_ONE_THREAD},
            pass_fds=[theirs.fileno()],
            process_group=0,  # Ctrl-C is for this process, which ends the others
        )
        theirs.close()

    def compute(self, function: Callable[..., Any], chunk: list[tuple[Any, ...]]) -> list[Any]:
        """Return function(*item) for each item, or raise what it raises."""
        try:
            self._connection.send((function, chunk))
            answer = self._connection.recv()
        except (EOFError, OSError):
            status = self._process.wait()
            how = f"was ended by {signal.Signals(-status).name}" if status < 0 else "failed"
            raise SalcrError(
                f"one of the processes of --workers {how}; if the machine has too little memory, "
                "use fewer"
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    def end(self) -> None:
        """Kill the process, whatever it does."""
        self._process.kill()
        self._process.wait()


def serve(handle: int) -> None:
    """Compute, in a process of its own, what comes by a connection until it is closed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a scheduler's: the other end will be closed
    connection = Connection(handle)
    with suppress(EOFError, ConnectionError):
        while True:
            function, chunk = connection.recv()
            try:
                answer: Any = [function(*item) for item in chunk]
            except Exception as error:
                answer = error
            connection.send(answer)
