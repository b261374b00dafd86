"""The resources of a process, round by round, and whether they grow.

Resident memory alone does not show that: glibc's malloc caches freed memory for each thread and
size, and returns none of it, so that resident memory grows for hours without any leak. Hence
allocated blocks of Python and allocated bytes of malloc are counted, with malloc's caches off
(`TUNABLES`); then resident memory grows only if they do.
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
arena of Python's allocator has 1 MiB. One object leaked per restart is more within an hour,
and one per message within a second.
"""


class Usage:
    """Samples of this process, in arrays: they add no objects to those that are counted."""

    def __init__(self) -> None:
        self._samples = {name: array("q") for name in ALLOWED}
        self._kinds: Counter[type] = Counter()
        self._libc = ctypes.CDLL(None)

    def __len__(self) -> int:
        return len(self._samples["files"])

    def take(self, connections: int = 0) -> None:
        """Take a sample, without the files of so many pooled connections."""
        gc.collect()
        if len(self) == WARM:
            self._kinds = Counter(map(type, gc.get_objects()))
        self._libc.malloc_trim(0)
        self._libc.mallinfo2.restype = _Mallinfo
        malloc = self._libc.mallinfo2()
        resident = Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]
        self.add(
            len(os.listdir("/proc/self/fd")) - connections,
            len(os.listdir("/proc/self/task")),
            sys.getallocatedblocks(),
            (malloc.uordblks + malloc.hblkhd) // 1024,
            int(resident),
        )

    def add(self, *sample: int) -> None:
        """A sample, in the order of `ALLOWED`."""
        for values, value in zip(self._samples.values(), sample, strict=True):
            values.append(value)

    def growth(self) -> dict[str, tuple[float, float]]:
        """The medians of the first and the last quarter of the rounds after the `WARM` ones.

        Raises:
            AssertionError: there are fewer than two rounds to compare.
        """
        assert len(self) >= WARM + 2, f"{len(self)} rounds are too few to see what grows"
        quarter = max(1, (len(self) - WARM) // 4)
        return {
            name: (median(values[WARM : WARM + quarter]), median(values[-quarter:]))
            for name, values in self._samples.items()
        }

    def check_flat(self) -> None:
        """Check that nothing has grown by more than is `ALLOWED`.

        Raises:
            AssertionError: something has; it names the types with more objects than before.
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
    """mallinfo2(3). What is in use is uordblks in heaps, and hblkhd in separate mappings."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        ]
    ]
