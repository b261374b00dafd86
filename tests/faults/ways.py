"""The ways in which a message can be sent, by what a server announces and refuses."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from functools import cache

from mailbackends import Options
from support import certs
from support.face import TLSMode
from support.machine import Habits

__all__ = ["PIPELINED", "REFUSING", "SECURE", "WAYS", "Way"]

FLIGHT = ("PIPELINING", "CHUNKING")
GROUP = ("PIPELINING",)


@cache
def _client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certs.cafile())


@dataclass(frozen=True)
class Way:
    """What a server announces and refuses. ``answers`` are those of `Habits`."""

    name: str
    extensions: tuple[str, ...] = ()
    lmtp: bool = False
    answers: dict[str, str] = field(default_factory=dict)
    tls: TLSMode = "none"
    login: tuple[str, str] | None = None
    in_flight: int = 1
    """How many messages of a batch the client sends before the first is answered."""

    @property
    def habits(self) -> Habits:
        """The same for `Machine`."""
        starttls = ("STARTTLS",) if self.tls == "starttls" else ()
        return Habits((*self.extensions, *starttls), self.lmtp, self.login, self.answers)

    @property
    def context(self) -> ssl.SSLContext | None:
        """The server's."""
        return certs.server_context() if self.tls != "none" else None

    def options(self, port: int) -> Options:
        """The client's."""
        user, password = self.login or (None, None)
        return Options(
            host="127.0.0.1",
            port=port,
            local_hostname="c.x",
            protocol="lmtp" if self.lmtp else "smtp",
            security=self.tls,
            ssl_context=_client_context() if self.tls != "none" else None,
            username=user,
            password=password,
            batch_pipeline=self.in_flight,
        )

    @property
    def is_one_flight(self) -> bool:
        """True if the content goes out before any reply was seen."""
        return set(self.extensions) >= set(FLIGHT)

    @property
    def is_chunked(self) -> bool:
        """True if the content goes by BDAT."""
        return "CHUNKING" in self.extensions

    def replies(self, recipients: tuple[str, ...]) -> int:
        """The replies that a message gets."""
        taken = sum(f"RCPT {to}" not in self.answers for to in recipients)
        return 1 + len(recipients) + (not self.is_chunked) + (taken if self.lmtp else 1)

    def __str__(self) -> str:
        return self.name


# Of the recipients a, b and c of each message, b is refused at RCPT, and a after the content.
_EARLY = {f"RCPT b{number}@x": "550 no" for number in range(5)}
_LATE = {f"deliver a{number}@x": "452 full" for number in range(5)}

WAYS = [
    Way("flight", FLIGHT),
    Way("group", GROUP),
    Way("lock-step", ()),
    Way("chunk", ("CHUNKING",)),
    Way("flight-partial", FLIGHT, answers=_EARLY),
    Way("group-partial", GROUP, answers=_EARLY),
    Way("lock-step-partial", (), answers=_EARLY),
    Way("lmtp-flight", FLIGHT, lmtp=True, answers=_EARLY | _LATE),
    Way("lmtp-group", GROUP, lmtp=True, answers=_EARLY | _LATE),
    Way("lmtp-lock-step", (), lmtp=True, answers=_EARLY | _LATE),
]

_LOGIN = ("user", "secret")

SECURE = [
    Way("flight-starttls", FLIGHT, tls="starttls", login=_LOGIN),
    Way("group-tls", GROUP, tls="tls", login=_LOGIN),
    Way("lmtp-flight-starttls", FLIGHT, lmtp=True, answers=_EARLY | _LATE, tls="starttls"),
]

# The message in the middle is refused as a whole.
_REFUSALS = {
    "sender": {"MAIL s1@x": "550 no"},
    "recipients": {f"RCPT {name}1@x": "450 later" for name in "abc"},
    "content": {"deliver a1@x": "554 no"},
}
_LATE_REFUSAL = {f"deliver {name}1@x": "452 full" for name in "abc"}

REFUSING = [
    Way(f"{name}-{what}", extensions, answers=answers)
    for name, extensions in (("flight", FLIGHT), ("group", GROUP), ("lock-step", ()))
    for what, answers in _REFUSALS.items()
] + [
    Way("lmtp-flight-late", FLIGHT, lmtp=True, answers=_LATE_REFUSAL),
    Way("lmtp-group-late", GROUP, lmtp=True, answers=_LATE_REFUSAL),
]

PIPELINED = [
    Way("pipelined", FLIGHT, in_flight=3),
    Way("pipelined-partial", FLIGHT, answers=_EARLY, in_flight=3),
    Way("pipelined-long", FLIGHT, in_flight=9),
    Way("pipelined-starttls", FLIGHT, tls="starttls", login=_LOGIN, in_flight=3),
    *(
        Way(f"pipelined-{what}", FLIGHT, answers=two, in_flight=3)
        for what, two in _REFUSALS.items()
    ),
]
