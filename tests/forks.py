"""Processes forked from the one of the tests, which is prepared: 25 ms each, on either database."""

import os
import traceback
from collections.abc import Callable

from django.db import connections


def forked(act: Callable[[], object]) -> int:
    """The id of a process that does this and ends, on connections of its own."""
    connections.close_all()  # a child must not share them
    child = os.fork()
    if child == 0:
        try:
            act()
            connections.close_all()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def was_killed(child: int) -> bool:
    """Whether it was killed before it ended by itself, which is waited for. A child that failed is an `AssertionError`."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert status == 0, "the child failed"
    return False
