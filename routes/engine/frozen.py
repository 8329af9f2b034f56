"""`FrozenDict`: what values hold where JSON has an object, so that a value can be shared and hashed."""

from __future__ import annotations

from typing import Any, Never


class FrozenDict[K, V](dict[K, V]):
    """A dict that cannot be changed. Equal to a dict with the same members; its values must be hashable to hash it."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # dict has none
        return hash(frozenset(self.items()))

    def _refuse(self, *_: object, **__: object) -> Never:
        raise TypeError("This value cannot be changed; build another one.")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[FrozenDict[K, V]], tuple[dict[K, V]]]:
        return type(self), (dict(self),)


def frozen(value: Any) -> Any:
    """The JSON value with lists as tuples and objects as `FrozenDict`, at every level."""
    if isinstance(value, dict):
        return FrozenDict({key: frozen(member) for key, member in value.items()})
    if isinstance(value, list | tuple):
        return tuple(map(frozen, value))
    return value


def thawed(value: Any) -> Any:
    """The reverse of `frozen`: lists and dicts, which are the caller's own."""
    if isinstance(value, dict):
        return {key: thawed(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return list(map(thawed, value))
    return value
