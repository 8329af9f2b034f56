"""Who acts, as the audit log names them."""

from dataclasses import dataclass
from typing import Any, Final

#: What the columns hold that keep a name: a person's and a key's together may have more.
NAME_LENGTH: Final = 200


def shortened(name: str) -> str:
    """The name in one line, and as long as the columns are: an ellipsis shows where it was longer."""
    name = " ".join(name.split())
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody or something that acts.

    `id` is opaque and stable; `on_behalf_of` is the id of the person behind a key. `name` is one line of at most
    `NAME_LENGTH` characters, and shows where it was longer; in the log it stands only in payloads, where it can be blanked.
    """

    type: str
    id: str
    on_behalf_of: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", shortened(self.name))  # it is frozen for everybody else

    @property
    def person(self) -> str | None:
        """The id of the person who acts, directly or through a key; None where there is none."""
        return self.id if self.type == "user" else self.on_behalf_of


def system(name: str) -> Actor:
    """A part of the installation that acts by itself: a worker, a command."""
    return Actor("system", name, None, name)


def as_actor(by: Any) -> Actor:
    """The actor of an `Actor`, a Django user, or anything with `as_actor()`. Raises `TypeError`."""
    if isinstance(by, Actor):
        return by
    if hasattr(by, "as_actor"):
        actor: Actor = by.as_actor()
        return actor
    if getattr(by, "is_authenticated", False) and by.pk is not None:
        return Actor("user", str(by.pk), None, by.get_username())
    raise TypeError(f"`by` says who acts: a user, a key or an Actor, not {by!r}.")
