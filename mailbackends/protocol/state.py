"""The states of a session, the table of transitions between them, and what it can wait for."""

from __future__ import annotations

from collections.abc import Generator
from enum import Enum
from typing import Any, TypeAlias, TypeVar

__all__ = ["CONTENT", "GO_AHEAD", "GREETING", "STRAY", "Dialogue", "State", "Want", "next_state"]


class Want(Enum):
    """What a dialogue needs before it can go on."""

    REPLY = "the reply to the oldest command in flight"
    CONTENT_REPLY = "the reply to the content, for which a server may take minutes"
    TLS = "the TLS handshake, now; the dialogue receives None"


T = TypeVar("T")
Dialogue: TypeAlias = Generator[Want, Any, T]
"""Yields what it wants, and receives the `Reply`; None for `Want.TLS`."""


class State(Enum):
    """The server's state, as far as its replies show it (RFC 5321 section 4.1.4)."""

    CONNECTED = "no greeting yet"
    GREETED = "no EHLO yet"
    READY = "no transaction is open"
    MAIL = "a transaction is open"
    CONTENT = "the server waits for the content"
    FAILED = "a transaction failed and may still be open: RSET comes before the next MAIL"
    CLOSED = "nothing more can be sent"


GREETING = "greeting"
CONTENT = "content"
STRAY = "the line of a refused chunk"

# RFC 5321 section 4.2.1: an "intermediate" reply asks for more, and only these have more.
GO_AHEAD = {"DATA": 354, "AUTH": 334}

# (what was answered, whether it was not refused) -> the next state. Anything else changes
# nothing, and no transition leaves CLOSED. A refused RSET closes, because the server's state
# is then unknown. After a refused content, servers differ on whether the transaction is over.
_TRANSITIONS = {
    (GREETING, True): State.GREETED,
    (GREETING, False): State.CLOSED,
    ("EHLO", True): State.READY,
    ("LHLO", True): State.READY,
    ("HELO", True): State.READY,
    ("MAIL", True): State.MAIL,
    ("MAIL", False): State.FAILED,
    ("BDAT", False): State.FAILED,
    ("DATA", True): State.CONTENT,
    ("DATA", False): State.FAILED,
    (CONTENT, True): State.READY,
    (CONTENT, False): State.FAILED,
    ("RSET", True): State.READY,
    ("RSET", False): State.CLOSED,
    ("QUIT", True): State.CLOSED,
    ("QUIT", False): State.CLOSED,
}


def next_state(state: State, answered: str, *, is_refusal: bool) -> State:
    """The state after the reply to ``answered``: a verb, `GREETING` or `CONTENT`."""
    if state is State.CLOSED:
        return state
    return _TRANSITIONS.get((answered, not is_refusal), state)
