"""Processes that compute ahead: the results of one process, and an end whatever happens."""

from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from salcr.data import workers
from salcr.errors import SalcrError

REPOSITORY = Path(__file__).parents[2]


def results(function: Callable[..., Any], items: list[tuple[Any, ...]], processes: int) -> list:
    """Return the results of all items."""
    with closing(workers.apply(function, items, processes=processes)) as computed:
        return list(computed)


def is_there(pid: int) -> bool:
    """Return whether a process runs, waiting a few seconds for it to end."""
    for _ in range(100):
        try:
            if (
                Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
                == "Z"
            ):
                return False  # ended; its parent, in a container, does not ask
        except FileNotFoundError:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("count", [0, 1, 33])
@pytest.mark.parametrize("processes", [0, 1, 3])
def test_results_are_in_the_order_of_the_items(
    monkeypatch: pytest.MonkeyPatch, processes: int, count: int
) -> None:
    """With two items at once, and fewer computed ahead than there are."""
    monkeypatch.setattr(workers, "_ITEMS_AT_ONCE", 2)
    monkeypatch.setattr(workers, "_ITEMS_AHEAD", 8)
    items = [(number, 2) for number in range(count)]
    assert results(operator.pow, items, processes) == [number**2 for number in range(count)]


def test_items_are_not_taken_long_before_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results fill the memory: of a thousand items, only those ahead are taken."""
    monkeypatch.setattr(workers, "_ITEMS_AHEAD", 32)
    taken = []
    items = (taken.append(number) or (number, 1) for number in range(1000))
    with closing(workers.apply(operator.add, items, processes=2)) as computed:
        assert [next(computed) for _ in range(3)] == [1, 2, 3]
    assert len(taken) <= 32 + workers._ITEMS_AT_ONCE


def test_a_process_computes_in_another_one_without_torch() -> None:
    """What decodes pictures takes no memory for torch or pandas, and one thread."""
    code = (
        "__import__('salcr.search.images') and (__import__('os').getpid(), "
        "{'torch', 'pandas'} & set(__import__('sys').modules), dict(__import__('os').environ))"
    )
    (one, heavy, environment), (same, *_) = results(eval, [(code,), (code,)], 2)
    assert one == same != os.getpid() and heavy == set()
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "1"


@pytest.mark.parametrize("processes", [1, 2])
def test_the_error_of_the_first_item_that_has_one_is_raised(processes: int) -> None:
    """The same one whatever the number of processes; results before it may be lost."""
    items = [("0",)] * 40 + [("first",)] + [("0",)] * 40 + [("second",)]
    with pytest.raises(ValueError, match="'first'"):
        results(int, items, processes)


@pytest.mark.parametrize(
    ("function", "status", "how"),
    [(signal.raise_signal, signal.SIGKILL, "was ended by SIGKILL"), (os._exit, 3, "failed")],
)
def test_a_process_that_ends_is_missed(function: Callable[..., Any], status: int, how: str) -> None:
    """By an error that names the flag; the system kills a process if the memory is full."""
    with pytest.raises(SalcrError, match=f"--workers {how}.*use fewer"):
        results(function, [(status,)], 2)


def test_the_processes_end_with_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last one; or at once, in the middle of work, when whoever uses them has enough."""
    code = "(__import__('time').sleep({}), __import__('os').getpid())[1]"
    pids = set(results(eval, [(code.format(0),)] * 40, 2))
    monkeypatch.setattr(workers, "_ITEMS_AT_ONCE", 1)
    items = [(code.format(0),), *[(code.format(60),)] * 8]
    with closing(workers.apply(eval, items, processes=2)) as computed:
        pids.add(next(computed))
    assert len(pids) >= 2 and not any(map(is_there, pids))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_processes_end_with_the_one_that_started_them(number: signal.Signals) -> None:
    """Killed, or by Ctrl-C, whose signal does not reach them: no traceback is theirs."""
    code = (
        "from salcr.data import workers; import signal, sys\n"
        # A shell lets what it starts in the background ignore Ctrl-C.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "word = \"__import__('os').getpid()\"\n"
        "computed = workers.apply(eval, [(word,)] * 99, processes=2)\n"
        "pids = [next(computed) for _ in range(40)]\n"
        "print(*pids, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 40
        os.killpg(process.pid, number)
        text = process.stderr.read()
    assert text.count("Traceback") <= 1, "the first process has its own"
    assert not any(map(is_there, set(pids)))


@pytest.mark.parametrize(
    ("cores", "threads", "items", "expected"),
    [(64, 1, 10**6, 8), (4, 1, 10**6, 3), (4, 4, 10**6, 1), (64, 1, 1600, 3), (64, 1, 0, 1)],
)
def test_the_default_depends_on_cores_and_items(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: int, items: int, expected: int
) -> None:
    """At most eight, not more than the cores that are left, and none for a few pictures."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert workers.sensible_number(items, threads=threads) == expected
