"""How often something happened: in fixed windows, in Django's cache.

Each process counts for itself, unless `CACHE_URL` names a cache that they share.
"""

import time

from django.core.cache import caches


def counted(what: str, window_seconds: int) -> tuple[int, int]:
    """How often it happened in the present window, and how many seconds of that are left. `what` says whose it is, too."""
    key, seconds_left = _counter(what, window_seconds)
    return caches["default"].get(key, 0), seconds_left


def count(what: str, window_seconds: int, *, using: str = "default") -> tuple[int, int]:
    """The same, and one more. `using` names the cache: a full one loses counters, so that a long window is not counted
    where strangers count."""
    cache, (key, seconds_left) = caches[using], _counter(what, window_seconds)
    try:
        return cache.incr(key), seconds_left
    except ValueError:  # the first one
        cache.add(key, 0, timeout=2 * window_seconds)
    try:
        return cache.incr(key), seconds_left
    except ValueError:  # it was thrown out in between: a full cache lets people pass
        return 1, seconds_left


def _counter(what: str, window_seconds: int) -> tuple[str, int]:
    number, spent = divmod(int(time.time()), window_seconds)
    return f"rates:{what}:{number}", window_seconds - spent
