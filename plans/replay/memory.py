"""How the process gets memory, while it replays."""

import ctypes
from typing import Final

#: Of glibc's mallopt(3).
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_MOST: Final = 2**30


def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed for the next array. By default glibc gives arrays of half a megabyte back to
    the system at once, and each new one is paged in again, which takes several times as long as to fill it. For the whole
    process, so for those to call who run a worker, a command, or a benchmark. False where there is no glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all(mallopt(option, _MOST) == 1 for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD))
