"""Anomalies for the checker to find: each changes a recorded history as if the database had let it happen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

from tests.torn.history import Call, Facts, Version
from tests.torn.recording import Recorded


@dataclass
class Plot:
    """Where to plant."""

    recorded: Recorded
    chance: Random

    def written(self, *kinds: str) -> Iterator[tuple[Call, Version, Facts]]:
        """Acts of these kinds that were answered, in some order, each with the version that it made."""
        calls = [call for call in self.recorded.calls if call.kind in kinds and call.version is not None]
        for call in self.chance.sample(calls, len(calls)):
            facts = self.recorded.facts[call.org]
            yield call, facts.versions[(call.version or 0) - facts.versions[0].number], facts

    def reads(self) -> Iterator[tuple[Call, list[Version]]]:
        """Reads, in some order, each with the versions from the first one to that which it saw."""
        calls = [call for call in self.recorded.calls if call.kind == "read" and call.state is not None]
        for call in self.chance.sample(calls, len(calls)):
            versions = self.recorded.facts[call.org].versions
            yield call, versions[: (call.version or 0) - versions[0].number + 1]


class NoPlace(Exception):
    """The history is too short for this."""


def dirty_write(plot: Plot) -> None:
    """G0: two applies write the same route, and the first one's version has it from the second."""
    for _, version, facts in plot.written("apply", "edit"):
        for later in facts.versions[version.number - facts.versions[0].number + 1 :][:1]:
            for key in version.state.keys() & later.state.keys():
                if version.state[key] != later.state[key] and _is_new(later.state[key], later, facts):
                    version.state[key] = later.state[key]
                    return
    raise NoPlace


def _is_new(value: str, version: Version, facts: Facts) -> bool:
    """Whether this version was the first to have it."""
    before = facts.versions[: version.number - facts.versions[0].number]
    return all(value not in one.state.values() for one in before)


def lost_update(plot: Plot) -> None:
    """Of two edits of one route both saw what was there before."""
    last: dict[Any, list[Call]] = {}
    edits = [call for call in plot.recorded.calls if call.kind == "edit" and call.version is not None]
    for call in sorted(edits, key=lambda call: call.version or 0):
        last.setdefault((call.org, call.args["key"]), []).append(call)
    pairs = [(one, other) for calls in last.values() for one, other in pairwise(calls)]
    if not pairs:
        raise NoPlace
    one, other = plot.chance.choice(pairs)
    other.args = {**other.args, "seen": one.args["seen"]}


def read_skew(plot: Plot) -> None:
    """A reader saw one route as it was before, and another one as it is."""
    for read, versions in plot.reads():
        assert read.state is not None
        for before in reversed(versions[:-1]):
            changed = [key for key in before.state.keys() & read.state.keys() if before.state[key] != read.state[key]]
            if len(changed) > 1:
                mixed = {**read.state, changed[0]: before.state[changed[0]]}
                if all(mixed != version.state for version in versions):
                    read.state = mixed
                    return
    raise NoPlace


def gap(plot: Plot) -> None:
    """A number was used up by what was undone."""
    for _, version, facts in plot.written("edit", "create", "delete", "default"):
        if version is not facts.versions[-1]:
            facts.versions.remove(version)
            return
    raise NoPlace


def duplicate(plot: Plot) -> None:
    """Two writers were told the same number."""
    written = list(plot.written("edit"))
    for (call, _, _), (other, _, _) in pairwise(written):
        if call.org == other.org:
            call.version = other.version
            return
    raise NoPlace


def stale_tag(plot: Plot) -> None:
    """A reader saw what was live before under the number of now."""
    for read, versions in plot.reads():
        for before in versions[:-1]:
            if before.state != read.state:
                read.state, read.digest = dict(before.state), before.digest
                return
    raise NoPlace


def torn_apply(plot: Plot) -> None:
    """Of a plan with two routes one is live."""
    for call, version, facts in plot.written("apply"):
        before = facts.versions[version.number - facts.versions[0].number - 1]
        changed = sorted(facts.plans[call.args["plan"]].proposed.keys() & before.state.keys())
        if len(changed) > 1:
            key = plot.chance.choice(changed)
            version.state[key] = before.state[key]
            return
    raise NoPlace


def phantom(plot: Plot) -> None:
    """A reader saw a route that nobody wrote."""
    for read, _ in plot.reads():
        assert read.state is not None
        read.state = {**read.state, "00000000-0000-7000-8000-000000000000": "nobody wrote this"}
        return
    raise NoPlace


def real_time_inversion(plot: Plot) -> None:
    """Somebody was answered before another one asked, and comes after."""
    for call, version, facts in plot.written("edit", "create", "delete", "default", "apply", "revert"):
        later = facts.versions[version.number - facts.versions[0].number + 1 :]
        for other, found, _ in plot.written("edit", "create", "default", "apply"):
            if other.org == call.org and found in later and other.process != call.process:
                other.invoked, other.returned = call.invoked - 2_000, call.invoked - 1_000
                return
    raise NoPlace


def resurrected_revert(plot: Plot) -> None:
    """What a plan brought is live again after it was reverted."""
    for call, version, facts in plot.written("revert"):
        proposed = facts.plans[call.args["plan"]].proposed
        for later in facts.versions[version.number - facts.versions[0].number + 1 :]:
            for key, value in proposed.items():
                if key in later.state and later.state[key] != value:
                    later.state[key] = value
                    return
    raise NoPlace


def lost_answer(plot: Plot) -> None:
    """What was answered is gone, with all that came after it, as after a crash that takes commits back."""
    for _, version, facts in plot.written("edit", "default"):
        gone = {one.number for one in facts.versions if one.number >= version.number}
        facts.versions = [one for one in facts.versions if one.number not in gone]
        facts.entries = [entry for entry in facts.entries if entry.after not in gone]
        facts.version, facts.rows = facts.versions[-1].number, dict(facts.versions[-1].state)
        return
    raise NoPlace


def silent_change(plot: Plot) -> None:
    """A version has no entry in the log."""
    for _, version, facts in plot.written("edit"):
        facts.entries = [entry for entry in facts.entries if entry.after != version.number]
        return
    raise NoPlace


def untrue_refusal(plot: Plot) -> None:
    """Somebody was refused for what was not so."""
    for call, version, facts in plot.written("edit", "apply", "revert"):
        place, moment = version.number - facts.versions[0].number, call.invoked - 1
        args, refused = call.args, "invalid_state"
        if call.kind == "edit":  # the last one of a route, after which somebody looked
            key, moment = call.args["key"], (call.returned or 0) + 1
            if any(one.state.get(key) != call.args["value"] for one in facts.versions[place + 1 :]):
                continue
            args, refused = {"key": key, "seen": version.number}, "stale_route"
        elif call.kind == "revert":
            plan = facts.plans[call.args["plan"]]
            since = facts.versions[(plan.applied or 0) - facts.versions[0].number : place]
            if any(plan.proposed.items() - one.state.items() for one in since):
                continue
            refused = "revert_conflict"
        elif facts.plans[call.args["plan"]].base == version.number - 1:
            refused = plot.chance.choice(["invalid_state", "stale_plan"])
        plot.recorded.calls.append(
            Call("refused", 1, call.org, call.kind, moment, dict(args), returned=moment, refused=refused)
        )
        return
    raise NoPlace


#: Each with the kind under which it is to be found.
PLANTED: dict[Callable[[Plot], None], str] = {
    dirty_write: "dirty write",
    lost_update: "lost update",
    read_skew: "read skew",
    gap: "gap",
    duplicate: "duplicate",
    stale_tag: "stale tag",
    torn_apply: "torn",
    phantom: "phantom",
    real_time_inversion: "real-time inversion",
    resurrected_revert: "resurrected",
    lost_answer: "lost",
    silent_change: "unrecorded",
    untrue_refusal: "untrue",
}
