"""What a process holds, round by round, and whether that is flat.

Resident memory alone cannot tell: glibc's malloc keeps freed memory for each thread and size,
and gives none of it back, so that a process which holds the same grows for hours all the
same. Hence what is held is counted, in blocks by Python's allocator and in bytes by malloc, with
malloc's caches off (`TUNABLES`); then the resident memory is as flat as they are.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from array import array
from collections import Counter
from pathlib import Path
from statistics import median

__all__ = ["ALLOWED", "TUNABLES", "WARM", "Usage"]

TUNABLES = "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"
"""For the environment variable GLIBC_TUNABLES: freed memory is free, whichever thread freed it."""
WARM = 3
"""Rounds after which nothing may grow."""
ALLOWED = {"files": 0, "threads": 0, "blocks": 500, "malloc KiB": 128, "resident KiB": 1024}
"""How much more the last quarter's median may be than the first one's.

One connection has some 40 blocks and 25 KiB, and a sample may see three of them or none. An
arena of Python's allocator has 1 MiB. One object kept for each restart is more within an hour,
and one for each message within a second.
"""


class Usage:
    """Samples of this process. They are kept in arrays, which are no objects that add up."""

    def __init__(self) -> None:
        self._samples = {name: array("q") for name in ALLOWED}
        self._kinds: Counter[type] = Counter()
        self._libc = ctypes.CDLL(None)

    def __len__(self) -> int:
        return len(self._samples["files"])

    def take(self, connections: int = 0) -> None:
        """One more sample; ``connections`` of the open files are the pool's business."""
        gc.collect()
        if len(self) == WARM:
            self._kinds = Counter(map(type, gc.get_objects()))
        self._libc.malloc_trim(0)
        self._libc.mallinfo2.restype = _Mallinfo
        held = self._libc.mallinfo2()
        resident = Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]
        self.add(
            len(os.listdir("/proc/self/fd")) - connections,
            len(os.listdir("/proc/self/task")),
            sys.getallocatedblocks(),
            (held.uordblks + held.hblkhd) // 1024,
            int(resident),
        )

    def add(self, *sample: int) -> None:
        """A sample, in the order of `ALLOWED`."""
        for values, value in zip(self._samples.values(), sample, strict=True):
            values.append(value)

    def growth(self) -> dict[str, tuple[float, float]]:
        """The medians of the first and the last quarter of the rounds behind the `WARM` ones.

        Raises:
            AssertionError: there are not two rounds to compare.
        """
        assert len(self) >= WARM + 2, f"{len(self)} rounds are too few to see what grows"
        quarter = max(1, (len(self) - WARM) // 4)
        return {
            name: (median(values[WARM : WARM + quarter]), median(values[-quarter:]))
            for name, values in self._samples.items()
        }

    def see_it_flat(self) -> None:
        """See that nothing has grown by more than is `ALLOWED`.

        Raises:
            AssertionError: something has; with the types of which there are more objects.
        """
        grown = [
            name for name, (first, last) in self.growth().items() if last - first > ALLOWED[name]
        ]
        assert not grown, f"not flat: {', '.join(grown)}. {self}. {self._more_objects()}"

    def _more_objects(self) -> str:
        more = Counter(map(type, gc.get_objects()))
        more.subtract(self._kinds)
        listed = ", ".join(
            f"{kind.__module__}.{kind.__qualname__} {count:+,}"
            for kind, count in more.most_common(9)
            if count > 0
        )
        return f"Objects since round {WARM}: {listed or 'no more'}"

    def __str__(self) -> str:
        return "; ".join(
            f"{name} {first:,.0f} -> {last:,.0f} (may grow by {ALLOWED[name]:,})"
            for name, (first, last) in self.growth().items()
        )


class _Mallinfo(ctypes.Structure):
    """mallinfo2(3). What is in use is uordblks in heaps, and hblkhd in mappings of its own."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        ]
    ]
