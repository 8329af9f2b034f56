"""Where parts of a log are projected: here, or in other processes. (Not in threads, which would wait for each other: most
of what NumPy does here it does with the interpreter's lock.)

An executor has two methods. `map` turns parts into partials, in any order; `merge` adds them up. The answer is the same
bytes whichever it is.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import reduce
from multiprocessing import get_context
from typing import NamedTuple, Protocol

from plans.replay.columns import Cursor
from plans.replay.sums.partial import Partial


class Part(NamedTuple):
    """Consecutive blocks of a log."""

    start: Cursor
    blocks: int


type Work = Callable[[Part], Partial]


class Executor(Protocol):
    def map(self, work: Work, parts: Iterable[Part]) -> Iterator[Partial]: ...

    def merge(self, partials: Iterable[Partial]) -> Partial: ...


class Serial:
    """One part after the other, in this process."""

    def map(self, work: Work, parts: Iterable[Part]) -> Iterator[Partial]:
        return map(work, parts)

    def merge(self, partials: Iterable[Partial]) -> Partial:
        """The sum of at least one."""

        def added(left: Partial, right: Partial) -> Partial:
            left.merge(right)
            return left

        return reduce(added, partials)


class ProcessPool(Serial):
    """So many processes. What `work` holds is pickled for each part."""

    def __init__(self, processes: int, prepare: Callable[[], None] | None = None) -> None:
        """`prepare` is called once in each process, before anything else."""
        self._processes = processes
        self._prepare = prepare

    def map(self, work: Work, parts: Iterable[Part]) -> Iterator[Partial]:
        # Fresh processes: a fork would copy threads' locks and open connections to a database.
        context = get_context("spawn")
        with ProcessPoolExecutor(self._processes, mp_context=context, initializer=self._prepare) as pool:
            try:
                for done in as_completed([pool.submit(work, part) for part in parts]):
                    yield done.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)  # else all of them would run before the error is heard
                raise
