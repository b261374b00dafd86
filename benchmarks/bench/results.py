"""The results of a run, stored as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import sysconfig
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["Cell", "Line", "Profile", "Results", "machine", "rounded"]

_VERSIONS = ("Django", "Flask", "Flask-Mail", "aiosmtplib")


@dataclass(slots=True)
class Cell:
    """One client in one case; each list has one number per round."""

    case: str
    client: str
    count: int
    """Messages in each round."""
    wall: list[float] = field(default_factory=list)
    """Seconds per message."""
    cpu: list[float] = field(default_factory=list)
    """Seconds of processor time of the client's process, per message."""
    peak: float | None = None
    """Bytes allocated while sending one message, without the message itself."""

    @property
    def median_wall(self) -> float:
        """Seconds per message."""
        return statistics.median(self.wall)

    @property
    def median_cpu(self) -> float:
        """Seconds of processor time per message."""
        return statistics.median(self.cpu)


@dataclass(slots=True)
class Line:
    """What was measured of the line to the sink, without any client."""

    delay: int
    """The configured round trip in milliseconds."""
    throughput: float
    """Bytes per second."""
    echoes: list[float] = field(default_factory=list)
    """The seconds that a byte and its echo took: several in each round."""

    @property
    def round_trip(self) -> float:
        """The median, in seconds."""
        return statistics.median(self.echoes)


@dataclass(slots=True)
class Profile:
    """Where one client's time goes in one case, in seconds of processor time per message."""

    case: str
    client: str
    cpu: float
    parts: dict[str, float]


@dataclass(slots=True)
class Results:
    """One run."""

    machine: dict[str, Any]
    lines: list[Line] = field(default_factory=list)
    """What the proxy did, for each delay."""
    cells: list[Cell] = field(default_factory=list)
    checked: int = 0
    """The number of messages that arrived and were compared with the sample."""
    skipped: dict[str, str] = field(default_factory=dict)
    """The clients that could not run, with the reason."""
    profiles: list[Profile] = field(default_factory=list)
    before: list[Profile] = field(default_factory=list)
    """The profiles of an earlier run, for comparison."""
    optimised: Results | None = None
    """The same with an optimised build of the interpreter."""

    def cell(self, case: str, client: str) -> Cell | None:
        """The results of one client in one case, or None."""
        found = (c for c in self.cells if (c.case, c.client) == (case, client))
        return next(found, None)

    def round_trip(self, delay: int) -> float:
        """What was measured for this delay (ms), in seconds."""
        return self.line(delay).round_trip

    def line(self, delay: int) -> Line:
        """What was measured for this delay (ms)."""
        return next(line for line in self.lines if line.delay == delay)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        path.write_text(_compact(text) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read it from JSON."""
        return cls._read(json.loads(path.read_text(encoding="utf-8")))

    @classmethod
    def _read(cls, read: dict[str, Any]) -> Results:
        if read.get("optimised"):
            read["optimised"] = cls._read(read["optimised"])
        read["lines"] = [Line(**line) for line in read["lines"]]
        for name in ("profiles", "before"):
            read[name] = [Profile(**profile) for profile in read.get(name, [])]
        read["cells"] = [Cell(**cell) for cell in read["cells"]]
        return cls(**read)


def rounded(value: float) -> float:
    """Round to four significant digits."""
    return float(f"{value:.4g}")


def machine() -> dict[str, Any]:
    """The kind of machine, without anything that identifies it."""
    has_affinity = hasattr(os, "sched_getaffinity")
    options = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    versions = {}
    for name in _VERSIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cores": len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count(),
        "system": f"{platform.system()} on {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        # The builds of distributions are optimised too: Debian's by a target of its makefile.
        "is_optimised": "--enable-optimizations" in options or sys.base_prefix == "/usr",
        "versions": versions,
        "load": [round(os.getloadavg()[0], 1)] if hasattr(os, "getloadavg") else [],
    }


def _compact(text: str) -> str:
    """Lists of numbers on one line each."""
    lines: list[str] = []
    is_open = False
    for line in text.split("\n"):
        bare = line.strip().rstrip(",")
        is_number = bare.replace(".", "").replace("e-", "").isdecimal()
        if is_open and (is_number or bare == "]"):
            lines[-1] += line.strip() + (" " if is_number and line.endswith(",") else "")
            is_open = bare != "]"
            continue
        lines.append(line)
        is_open = line.endswith("[")
    return "\n".join(lines)
