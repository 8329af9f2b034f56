"""The budget of one route's findings, counted and not timed, so that equal routes have equal findings everywhere; and
what ends a question without an answer."""

from __future__ import annotations

from typing import Literal

#: Why something could not be decided. `keywords` is reserved: today keywords alone are always decided.
Reason = Literal["keywords", "pattern", "regex", "budget"]


class Doubt(Exception):
    """Whether there is such a request is not known, for this reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class OutOfSteps(Doubt):
    """The budget is spent."""

    def __init__(self) -> None:
        super().__init__("budget")


class Steps:
    """What is left of a budget. One step is one alternative of a route, of few conditions, held against one region of
    requests; more conditions, and dear questions (hours in zones, overlapping patterns, words in words), count as
    several."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, steps: int = 1) -> None:
        """Raises `OutOfSteps` once there is nothing left."""
        self.left -= steps
        if self.left < 0:
            raise OutOfSteps
