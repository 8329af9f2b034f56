"""The replay: had these routes been live, what would the logged requests have cost?

Two passes over the log: a survey of the whole, then the projection of its rows, which may be split among processes.
"""

from functools import partial
from itertools import islice, pairwise
from typing import Any

from plans.replay.columns import Cursor, LogChanged, Source
from plans.replay.columns.kept import kept
from plans.replay.executors import Executor, Part, Serial
from plans.replay.projection import Projection
from plans.replay.question import Question
from plans.replay.result import result_of
from plans.replay.sums.partial import Partial
from plans.replay.survey import Survey, survey


def replay(source: Source, question: Question, *, parts: int = 1, executor: Executor | None = None) -> dict[str, Any]:
    """What the rows would have cost, and how long they would have taken, under the proposed routes against today's.

    A decision that names the model, and no other provider than that, which served a row keeps its paid cost, on both
    sides; so does one that leaves the name asked for as it is, where no route decided who served: the name may be an
    alias. Only what changed is priced, at the price in force at the row's time. A refused request costs nothing, and is
    counted. Conservative: without a price, without tokens, or above a route's ceiling, on either side, the paid cost
    stands on both, and is counted. Copies to a shadow model are counted, not priced.

    `parts`: into how many the log is cut for the executor. Raises `LogChanged` where rows came or went meanwhile.
    """
    source = kept(source, question.columns)
    found = survey(question, source)
    executor = Serial() if executor is None else executor
    work = partial(project, question, found, source)
    total = executor.merge(executor.map(work, parts_of(found, parts)))
    check(found, total, source)
    return result_of(question, found, total)


def parts_of(found: Survey, count: int) -> list[Part]:
    """The log in at most so many parts of nearly as many blocks; one, empty part for an empty log."""
    blocks = len(found.starts)
    if not blocks:
        return [Part(Cursor(), 0)]
    edges = sorted({blocks * part // count for part in range(count + 1)})
    return [Part(found.starts[left], right - left) for left, right in pairwise(edges)]


def project(question: Question, found: Survey, source: Source, part: Part) -> Partial:
    """The sums of one part."""
    projection = Projection(question, found)
    for block in islice(source.blocks(question.columns, part.start), part.blocks):
        projection.add(block)
    return projection.partial


def check(found: Survey, total: Partial, source: Source) -> None:
    """Raises `LogChanged` where rows of the survey did not come again, or the source has changed."""
    if found.rows != total.counts.rows or source.has_changed():
        raise LogChanged("The log changed while it was read. Replay a window that has ended.")
