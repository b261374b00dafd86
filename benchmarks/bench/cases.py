"""The cases: each kind of message, at each distance, without TLS and with TLS and login."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from bench.samples import SAMPLES, Sample

__all__ = ["CASES", "DEFAULT", "QUICK", "Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of message, sent in one way."""

    sample: Sample
    delay: int
    """The round trip to the server, in milliseconds."""
    is_tls: bool
    """With STARTTLS and a login, or without both."""
    is_quiet: bool = False
    """Each message comes after a minute in which none was sent (or less: `Plan.quiet`)."""

    @property
    def name(self) -> str:
        """The name on the command line."""
        what = "quiet" if self.is_quiet else self.sample.name
        return f"{what}-{self.delay}-{'tls' if self.is_tls else 'plain'}"

    @property
    def title(self) -> str:
        """The title in headings."""
        away = f"{self.delay} ms away" if self.delay else "no delay"
        what = "The first message of a view after a quiet minute" if self.is_quiet else None
        how = "TLS and login" if self.is_tls else "in clear"
        return f"{what or self.sample.title}, {away}, {how}"

    @property
    def security(self) -> str:
        """The option ``security``."""
        return "starttls" if self.is_tls else "none"

    @property
    def wants_memory(self) -> bool:
        """True if the peak of memory is measured too, which does not depend on the distance."""
        return self.sample.attachment_size > 0 and not self.delay and not self.is_tls


CASES = {
    case.name: case
    for case in (
        *itertools.starmap(Case, itertools.product(SAMPLES.values(), (0, 20, 80), (False, True))),
        Case(SAMPLES["text"], 40, True, is_quiet=True),
    )
}

DEFAULT = (
    "text-0-plain",
    "text-0-tls",
    "text-20-tls",
    "text-80-tls",
    "html-0-plain",
    "html-20-tls",
    "built-0-plain",
    "many-20-tls",
    "5mb-0-plain",
    "25mb-0-plain",
    "quiet-40-tls",
)
"""One case of each kind, and all that the targets need."""

QUICK = ("text-0-plain", "text-20-tls", "html-0-plain", "built-0-plain")
