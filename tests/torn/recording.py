"""Writers and readers at once, in processes of their own, and what each of them asked and was answered."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.forks import forked, was_killed
from tests.torn.history import Call, Facts
from tests.torn.writers import Writer, a_result, calls_in, facts_of, places, torn, unverified


@dataclass
class Recorded:
    calls: list[Call]
    facts: dict[str, Facts]
    #: What the database itself says that does not belong together.
    faults: list[str]

    def __str__(self) -> str:
        kinds = Counter(
            call.kind
            for call in self.calls
            if call.returned is not None and not call.refused and call.version is not None
        )
        refused = Counter(call.refused for call in self.calls if call.refused)
        unknown = sum(call.returned is None for call in self.calls)
        commits = sum(len(facts.versions) - 1 for facts in self.facts.values())
        told = ", ".join(f"{count:,} {what}" for what, count in (kinds + refused).most_common())
        return f"{commits:,} commits in {len(self.facts)} organisations: {told}, {unknown} of which nobody knows"

    def of_one(self) -> "Recorded":
        """What belongs to the organisation in which most was done: enough to plant anomalies in."""
        org = max(self.facts, key=lambda org: len(self.facts[org].versions))
        return Recorded([call for call in self.calls if call.org == org], {org: self.facts[org]}, self.faults)


def record(commits: int, *, writers: int, orgs: int, seed: int, folder: Path) -> Recorded:
    """At least so many versions, made by as many processes, in all of the organisations."""
    made, result = places(orgs, f"org{seed}"), a_result()
    share = -(-commits // writers)
    children = []
    for number in range(writers):
        name = f"s{seed}w{number}"
        writer = Writer(name, made, result, folder / f"{name}.notes")
        children.append(forked(lambda writer=writer: writer.write(share)))
    for child in children:
        assert not was_killed(child)
    facts = {str(org.pk): facts_of(org) for org in made}
    faults = [fault for org in made for fault in torn(org)] + unverified(made)
    return Recorded(calls_in(sorted(folder.glob(f"s{seed}w*.notes"))), facts, faults)
