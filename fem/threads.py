"""Parts of a product at once, on threads that do not wait for each other.

Within an operation torch splits the work among OpenMP threads that spin until the last is done, and
does not split gathering and scattering at all: two threads gain little on an idle machine and lose
tenfold where another process holds a core. Here each thread takes a share of the bricks and runs
operations of its own; torch releases Python's lock while they last.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

S = TypeVar("S")
T = TypeVar("T")

_here = threading.local()

_pools: list[tuple[int, ThreadPoolExecutor]] = []  # of the solves under way, the last on top


@contextmanager
def torch_threads(number: int | None) -> Iterator[None]:
    """Let `at_once` use so many threads for a while; None takes torch's own number."""
    before = torch.get_num_threads()
    number = number or before
    with ThreadPoolExecutor(max(1, number - 1)) as pool:
        _pools.append((number, pool))
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
            _pools.pop()


@contextmanager
def within_operations(number: int | None) -> Iterator[None]:
    """Let torch use so many threads within an operation for a while; None leaves its own number.

    For work that is few large operations, such as laws over material points.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def team() -> int:
    """How many parts to make of a product."""
    return _pools[-1][0] if _pools else 1


def at_once(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Run jobs side by side, the first in this thread; their results in order.

    Within a job that runs beside others its own parts run one after the other: the threads are
    taken, and would wait for each other.
    """
    if len(jobs) == 1 or team() == 1 or getattr(_here, "beside", False):
        return [job() for job in jobs]
    others = [_pools[-1][1].submit(_beside, job) for job in jobs[1:]]
    return [_beside(jobs[0]), *(other.result() for other in others)]


def both(one: Callable[[], S], other: Callable[[], T]) -> tuple[S, T]:
    """Run two jobs side by side."""
    jobs: list[Callable[[], Any]] = [one, other]
    first, second = at_once(jobs)
    return first, second


def _beside(job: Callable[[], T]) -> T:
    _here.beside = True
    try:
        return job()
    finally:
        _here.beside = False


def shares(n: int, least: int = 1) -> list[tuple[int, int]]:
    """Cut ``range(n)`` into a part for each of the team, of ``least`` or more."""
    parts = max(1, min(team(), n // least))
    cuts = [n * part // parts for part in range(parts + 1)]
    return list(itertools.pairwise(cuts))
