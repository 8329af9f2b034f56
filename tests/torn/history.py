"""What concurrent callers did and saw, checked against the versions that came of it.

No search is needed, because the version is the order: each published version is replayed on a plain dict, and every answer
is held against it. Takes time in proportion to the number of calls.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

#: Of each route (by its id, and of the default by this name) the one value that tells which write it is from.
State = dict[str, str]
DEFAULT = "default"


@dataclass
class Call:
    """Somebody asked for something. Without `returned` nobody knows what came of it."""

    #: Who asked, and which of their calls it is: together the name under which it is published.
    process: str
    number: int
    org: str
    #: create, edit, delete, default, apply, revert, or read.
    kind: str
    invoked: int
    args: dict[str, Any] = field(default_factory=dict)
    returned: int | None = None
    #: What it made or, for a read, saw; None where it was refused.
    version: int | None = None
    digest: str = ""
    state: State | None = None
    refused: str = ""

    @property
    def name(self) -> str:
        return f"{self.process}-{self.number}"


@dataclass
class Version:
    number: int
    digest: str
    author: str
    state: State


@dataclass
class Plan:
    """`proposed`: what it puts where."""

    state: str
    base: int
    proposed: State
    applied: int | None = None
    reverted: int | None = None


@dataclass
class Entry:
    """Of the audit log."""

    action: str
    target: str
    actor: str
    before: int
    after: int


@dataclass
class Facts:
    """What the database says of an organisation at the end. `versions` begin with the one from which it was written."""

    versions: list[Version]
    plans: dict[str, Plan]
    #: Those that name a version, in the order of the log.
    entries: list[Entry]
    #: What the rows say.
    version: int
    rows: State


class Finding(NamedTuple):
    kind: str
    text: str


def check(calls: list[Call], facts: dict[str, Facts]) -> list[Finding]:
    """Everything that cannot be, were the acts done one after the other and each of them whole."""
    by_org: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_org[call.org].append(call)
    return [finding for org, told in facts.items() for finding in _Checker(org, by_org[org], told).findings()]


class _Checker:
    def __init__(self, org: str, calls: list[Call], facts: Facts) -> None:
        self.org, self.calls, self.facts = org, calls, facts
        self.by_name = {call.name: call for call in calls if call.kind != "read"}
        self.reads: dict[int, list[Call]] = defaultdict(list)
        for call in calls:
            if call.kind == "read" and call.version is not None:
                self.reads[call.version].append(call)
        #: Value → the version that first had it.
        self.since: dict[str, int] = {}
        #: Plan → what it changed: key → (was, is).
        self.undo: dict[str, dict[str, tuple[str | None, str]]] = {}
        self.digests: dict[int, str] = {}
        self.reverted: dict[str, int] = {}
        self.states: dict[int, State] = {}
        #: Route → the versions that wrote it.
        self.writes: dict[str, list[int]] = defaultdict(list)

    def findings(self) -> Iterator[Finding]:
        for kind, text in self._all():
            yield Finding(kind, f"{self.org}: {text}")

    def _all(self) -> Iterator[tuple[str, str]]:
        yield from self._numbers()
        yield from self._real_time()
        yield from self._replay()
        yield from self._log()
        yield from self._plans()
        yield from self._refusals()

    # --- Numbers and moments ------------------------------------------------------------------------------------------

    def _numbers(self) -> Iterator[tuple[str, str]]:
        """V1: the versions are 1 to N, and V10: what was answered is there, once."""
        numbers = [version.number for version in self.facts.versions]
        for one, next_one in pairwise(numbers):
            if next_one != one + 1:
                yield ("gap" if next_one > one + 1 else "duplicate"), f"version {next_one} follows {one}"
        if numbers[-1] != self.facts.version:
            yield "gap", f"the organisation is at {self.facts.version}, {numbers[-1]} is the last version"
        authors = {version.number: version.author for version in self.facts.versions}
        told = Counter(call.version for call in self.by_name.values() if call.version is not None)
        for call in self.by_name.values():
            if call.version is None:
                continue
            if told[call.version] > 1:
                yield "duplicate", f"{call.name} and another were told that they made version {call.version}"
            elif authors.get(call.version) != call.name:
                yield "lost", f"{call.name} was told that it made version {call.version}; it did not"

    def _real_time(self) -> Iterator[tuple[str, str]]:
        """V2 and V4: who asks after somebody was answered makes and sees no older version."""
        answered: dict[int, list[Call]] = defaultdict(list)
        for call in self.calls:
            if call.version is not None:
                answered[call.version].append(call)
        first: Call | None = None  # of those with a newer version, the one that was answered first
        for version in sorted(answered, reverse=True):
            for call in answered[version]:
                if first is not None and first.returned is not None and call.invoked > first.returned:
                    yield (
                        "real-time inversion",
                        f"{call.name} asked after {first.name} was answered with {first.version}, and got {version}",
                    )
            for call in answered[version]:
                if first is None or first.returned is None or (call.returned or 0) < first.returned:
                    first = call

    # --- Replaying ----------------------------------------------------------------------------------------------------

    def _replay(self) -> Iterator[tuple[str, str]]:
        """V3 and V8: each version is what its author did to the one before, and each read is the version it names."""
        self.written = {
            value: version.number for version in reversed(self.facts.versions) for value in version.state.values()
        }
        start = self.facts.versions[0]
        state, revision, states = dict(start.state), dict[str, int](), self.states
        self.since = dict.fromkeys(start.state.values(), start.number)
        versions_of: dict[frozenset[tuple[str, str]], int] = {}
        states[start.number] = state
        for version in self.facts.versions:
            if version is not start:
                state = dict(state)
                call = self.by_name.get(version.author)
                if call is None:
                    yield "phantom", f"version {version.number} is by {version.author}, who did nothing"
                    state = dict(version.state)
                else:
                    effect, wrong = self._effect(call, version, state, revision)
                    yield from wrong
                    for key, value in effect.items():
                        revision[key] = version.number
                        self.writes[key].append(version.number)
                        if value is None:
                            state.pop(key, None)
                        else:
                            state[key] = value
                            self.since.setdefault(value, version.number)
                    if state != version.state:
                        yield self._differs(f"version {version.number}", version.state, state, version.number, effect)
                states[version.number] = state
            self.digests[version.number] = version.digest
            for read in self.reads.pop(version.number, ()):
                yield from self._read(read, version, state, versions_of)
            versions_of.setdefault(frozenset(state.items()), version.number)
        for number, reads in self.reads.items():
            if number < start.number:
                continue
            yield "phantom", f"{reads[0].name} saw version {number}, which is not there"
        if self.facts.rows != state:
            yield self._differs("the rows", self.facts.rows, state, self.facts.version, {})

    def _read(
        self, read: Call, version: Version, state: State, versions_of: dict[frozenset[tuple[str, str]], int]
    ) -> Iterator[tuple[str, str]]:
        if read.state is None:
            return
        if read.state == state:
            if read.digest != version.digest:
                yield "stale tag", f"{read.name} saw version {version.number} under another digest"
        elif frozenset(read.state.items()) in versions_of:
            yield "stale tag", f"{read.name} saw what was live before, as version {version.number}"
        else:
            yield self._differs(f"what {read.name} saw of {version.number}", read.state, state, version.number, None)

    def _effect(
        self, call: Call, version: Version, state: State, revision: dict[str, int]
    ) -> tuple[dict[str, str | None], list[tuple[str, str]]]:
        """What the call changes, and what is wrong with it."""
        wrong = []
        if call.refused:
            wrong.append(("aborted", f"{call.name} was told {call.refused}, and made version {version.number}"))
        if "seen" in call.args and revision.get(call.args["key"], call.args["seen"]) != call.args["seen"]:
            wrong.append(("lost update", f"{call.name} overwrote at {version.number} what it had not seen"))
        if call.kind == "create":  # whose id nobody knows where it was not answered
            key = next((key for key, value in version.state.items() if value == call.args["value"]), "nowhere")
            return {key: call.args["value"]}, wrong
        if call.kind in ("edit", "default"):
            return {call.args.get("key", DEFAULT): call.args["value"]}, wrong
        if call.kind == "delete":
            return {call.args["key"]: None}, wrong
        name = call.args["plan"]
        plan = self.facts.plans[name]
        if call.kind == "apply":
            if name in self.undo:
                wrong.append(("twice", f"{call.name} applied plan {name} again at {version.number}"))
            if self.states.get(plan.base, state) != state:
                wrong.append(
                    ("lost update", f"{call.name} applied a plan at {version.number} that was made on {plan.base}")
                )
            self.undo[name] = {key: (state.get(key), value) for key, value in plan.proposed.items()}
            return dict(plan.proposed), wrong
        undo = self.undo.get(name, {})
        if any(state.get(key) != now for key, (_, now) in undo.items()):
            wrong.append(("lost update", f"{call.name} overwrote at {version.number} what was changed after the plan"))
        if plan.applied == version.number - 1 and self.digests.get(plan.applied - 1) != version.digest:
            wrong.append(("digest", f"{call.name} did not bring the digest of {plan.applied - 1} back"))
        self.reverted |= dict.fromkeys((now for _, now in undo.values()), version.number)
        return {key: was for key, (was, _) in undo.items()}, wrong

    def _differs(
        self, what: str, found: State, expected: State, number: int, effect: dict[str, str | None] | None
    ) -> tuple[str, str]:
        """How it differs. `effect` is that of the version; None for a read."""
        keys = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
        text = f"{what}: {', '.join(f'{key} is {found.get(key)}, not {expected.get(key)}' for key in keys)}"
        values = [found[key] for key in keys if key in found]
        if any(value not in self.written for value in values):
            return "phantom", text
        if effect is None:
            return "read skew", text
        if any(self.reverted.get(value, number) < number for value in values):
            return "resurrected", text
        if any(self.since.get(value, number + 1) > number for value in values):
            return "dirty write", text
        return ("torn" if any(key in effect for key in keys) else "lost update"), text

    # --- The log and the plans ----------------------------------------------------------------------------------------

    def _log(self) -> Iterator[tuple[str, str]]:
        """V9: each version has one entry, of the same author."""
        entries = [entry for entry in self.facts.entries if entry.before != entry.after]
        by_version = {version.number: version for version in self.facts.versions[1:]}
        counted = Counter(entry.after for entry in entries)
        for number in by_version:
            if counted[number] != 1:
                yield "unrecorded", f"version {number} has {counted[number]} entries in the log"
        for entry in entries:
            version = by_version.get(entry.after)
            if entry.after > self.facts.versions[0].number and (
                version is None or (entry.before, entry.actor) != (entry.after - 1, version.author)
            ):
                yield "torn", f"the log has version {entry.after} by {entry.actor}, which is not what is there"

    def _plans(self) -> Iterator[tuple[str, str]]:
        """V5: a plan is applied where its entry is, and the version that it names is by whom the log says."""
        steps: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
        for entry in self.facts.entries:
            steps[entry.target][entry.action].append(entry)
        for name, plan in self.facts.plans.items():
            for action, at, is_done in (
                ("plan.applied", plan.applied, plan.state in ("applied", "reverted")),
                ("plan.reverted", plan.reverted, plan.state == "reverted"),
            ):
                told = [entry.after for entry in steps[name][action]]
                if told != ([at] if is_done else []):
                    yield "torn", f"plan {name} is {plan.state} at {at}; the log has {action} at {told}"
        for call in self.by_name.values():
            if call.kind == "apply" and call.version is not None and call.args["plan"] in self.facts.plans:
                plan = self.facts.plans[call.args["plan"]]
                if plan.applied != call.version:
                    yield "torn", f"{call.name} applied at {call.version}; the plan says {plan.applied}"

    # --- Refusals -----------------------------------------------------------------------------------------------------

    def _refusals(self) -> Iterator[tuple[str, str]]:
        """V11: what somebody was refused for was so at some moment between their question and the answer."""
        told = sorted(
            (call.returned, call.version) for call in self.calls if call.returned and call.version is not None
        )
        answered = [returned for returned, _ in told]
        newest = list(accumulate((version for _, version in told), max))
        by = {call.name: call.invoked for call in self.calls}
        # Of each version, before when it was not there: somebody had not yet asked for it, or for one before it.
        not_before = list(accumulate((by.get(version.author, 0) for version in self.facts.versions), max))
        first = self.facts.versions[0].number
        for call in self.calls:
            if not call.refused or call.returned is None:
                continue
            n = bisect_left(answered, call.invoked)
            oldest = newest[n - 1] if n else first
            if "plan" in call.args:  # which was made on a version that was there
                oldest = max(oldest, self.facts.plans[call.args["plan"]].base)
            youngest = first + max(bisect_right(not_before, call.returned) - 1, 0)
            moments = [number for number in range(max(oldest, first), youngest + 1) if number in self.states]
            if moments and not any(self._was_so(call, number) for number in moments):
                yield "untrue", f"{call.name} was told {call.refused}, which was not so from {oldest} to {youngest}"

    def _was_so(self, call: Call, number: int) -> bool:
        """Whether this refusal is true of this version."""
        state = self.states[number]
        if call.kind in ("edit", "delete"):
            key = call.args["key"]
            if call.refused == "not_found":
                return key not in state
            writes = self.writes[key]
            n = bisect_right(writes, number)
            return call.refused == "stale_route" and key in state and n > 0 and writes[n - 1] != call.args["seen"]
        if "plan" not in call.args:
            return False
        plan, undo = self.facts.plans[call.args["plan"]], self.undo.get(call.args["plan"], {})
        is_applied = plan.applied is not None and plan.applied <= number
        is_reverted = plan.reverted is not None and plan.reverted <= number
        true: dict[tuple[str, str], Callable[[], bool]] = {
            ("apply", "invalid_state"): lambda: is_applied,
            ("apply", "stale_plan"): lambda: not is_applied and self.digests[number] != self.digests.get(plan.base),
            ("revert", "invalid_state"): lambda: not is_applied or is_reverted,
            ("revert", "revert_conflict"): lambda: (
                is_applied and not is_reverted and any(state.get(key) != now for key, (_, now) in undo.items())
            ),
        }
        return (call.kind, call.refused) in true and true[call.kind, call.refused]()
