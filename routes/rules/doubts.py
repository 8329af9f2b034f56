"""What lint finds because of a change is shown before the change goes live, and once."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from django.db import connection, transaction
from django.http import HttpRequest

from routes import engine
from routes.orgs.models import Organization
from routes.publish import DirectWrite
from routes.rules.findings import Finding, in_words
from routes.rules.models import Route
from routes.rules.preview import found_anew, found_of_default


class Doubtful(Exception):
    """A change did not happen: something is asked about first."""


class Doubts:
    """What a page asks before it saves. Nobody is asked again about what was shown when he saved."""

    #: The field of the page that says what was shown.
    NAME = "seen_findings"

    def __init__(self, request: HttpRequest) -> None:
        self._seen = frozenset(re.findall("[0-9a-f]{16}", request.POST.get(self.NAME, "")))
        self._found: list[Finding] = []

    def look(self, org: Organization, route: engine.Route, row: Route | None) -> None:
        """Look whether with `route`, a new one or in the place of `row`, a route would be of no use, or use a model that
        nobody knows, which was not so before and was not shown."""
        self._ask_about(found_anew(org, route, row))

    def look_at_default(self, org: Organization, action: engine.Action | None) -> None:
        """The same with another default."""
        self._ask_about(found_of_default(org, action))

    def _ask_about(self, anew: list[Finding]) -> None:
        found = [one for one in anew if one["severity"] == "error" or one["code"] == "unknown_target"]
        self._found = found if any(_mark(one) not in self._seen for one in found) else []

    @contextmanager
    def first(self) -> Iterator[None]:
        """Where there is anything to ask about, changes inside the block do not happen, and it raises `Doubtful`; or what
        else refuses them, which can then be asked about at once."""
        if not self._found:
            yield
            return
        try:
            with transaction.atomic():
                yield
                raise Doubtful
        except DirectWrite as refused:
            if not connection.in_atomic_block:  # else it would be undone with what is around it
                refused.make_draft()  # which is looked at, and replayed, before anything goes live
            raise

    # What the page shows.

    def __bool__(self) -> bool:
        return bool(self._found)

    def lines(self) -> list[dict[str, str]]:
        return [in_words(one) for one in self._found]

    def shown(self) -> str:
        """What the page sends back: also what was shown before, while something else is put right."""
        return ",".join(sorted({*self._seen, *map(_mark, self._found)}))


def _mark(finding: Finding) -> str:
    # Not by the route's id, which a new one gets when it is saved.
    return sha256(f"{finding['code']} {finding['message']}".encode()).hexdigest()[:16]
