"""The outcome of a message, and the root of all exceptions, which carries it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from mailbackends.known_errors import fix_for
from mailbackends.reply import Reply
from mailbackends.texts import jsonable, one_line
from mailbackends.wording import MAILER, Wording

__all__ = ["Outcome", "SMTPException", "TransientError", "smtplib"]


def _standard_smtplib() -> ModuleType:
    """The standard library's module, even where a program has put us in its place.

    Programs do so (``sys.modules["smtplib"] = mailbackends``) to have a library use us.
    """
    given = sys.modules.get("smtplib")
    if given is None or given.__name__.partition(".")[0] != "mailbackends":
        import smtplib

        return smtplib
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    spec = PathFinder.find_spec("smtplib")
    if spec is None or spec.loader is None:
        raise ImportError("the standard library's smtplib cannot be found: check sys.path")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    import smtplib
else:
    smtplib = _standard_smtplib()


class Outcome(StrEnum):
    """The outcome of a message, or of one of its recipients."""

    ACCEPTED = "accepted"
    """The server took responsibility. Never send it again."""
    REFUSED = "refused"
    """The server refused it. After a 4yz reply, send it again later; after 5yz, do not."""
    NOT_SENT = "not_sent"
    """The end of the content was never sent. It may be sent again at once."""
    UNKNOWN = "unknown"
    """The end of the content was sent and no reply came. It may have been delivered."""
    SUPPRESSED = "suppressed"
    """The suppression list has the recipient: nothing was sent. Do not send it again."""


_CONSEQUENCE = {
    Outcome.ACCEPTED: "the message was accepted",
    Outcome.REFUSED: "the message was refused",
    Outcome.NOT_SENT: "the message was not sent",
    Outcome.UNKNOWN: "the message may or may not have been delivered: do not send it again blindly",
    Outcome.SUPPRESSED: "nothing was sent",
}


class SMTPException(smtplib.SMTPException):
    """The root of everything that mailbackends raises on purpose.

    ``outcome`` is what became of the message, and the class fixes it for all but this root:
    so it survives pickling, and result backends that keep only class and arguments.
    ``server`` is ``"host:port"`` where known.

    ``str()`` is the standard library's text where no message was concerned, as in most calls
    on `SMTP`; otherwise one line: what happened, at which server, and the outcome.
    """

    outcome: Outcome | None = None
    server: str | None = None
    recipient: str | None = None
    reply: Reply | None = None
    """The server's reply that caused this, or None."""
    accepted: tuple[str, ...] = ()
    """The recipients that were served all the same (LMTP answers for each of them)."""
    refused: Mapping[str, Reply] = MappingProxyType({})
    """The recipients that were refused one by one, with the reply for each."""
    no_connection: bool = False
    """True if a `Mailer` had no connection to send over, as the next message would not."""
    earlier: tuple[SMTPException, ...] = ()
    """The errors of the tries before: at other servers, and here over another connection."""
    wording: Wording = MAILER
    """The words of the interface in use, for `hint`."""

    _fix: str | None = None
    """What to do about it, with the names of options in braces: see `mailbackends.wording`."""
    _usual_fix: ClassVar[str | None] = None
    """What to do where nothing better is known."""
    _always_concerns_a_message: ClassVar[bool] = False
    _own_fields: ClassVar[tuple[str, ...]] = ()
    """Attributes that only this class has, for `as_dict`."""

    @property
    def is_transient(self) -> bool:
        """True if the same message may succeed if it is sent again later.

        False for `Outcome.UNKNOWN`, where sending again could deliver twice, and where the
        server replied 5yz, to the login for example: something must be corrected first.
        """
        if self.outcome is Outcome.UNKNOWN:
            return False
        if self.reply is None:
            return self.outcome is Outcome.NOT_SENT
        return self.reply.is_transient

    @property
    def hint(self) -> str | None:
        """What to do about it, in the words of the interface in use; None if that is unknown."""
        fix = self._known_fix()
        return self.wording.render(fix) if fix else None

    @property
    def what(self) -> str:
        """What happened, in one line, and what to do about it, without server and outcome."""
        return f"{self._what()}: {hint}" if (hint := self.hint) else self._what()

    def suggesting(self, fix: str) -> Self:
        """This error with a fix, in which ``{username}`` is the name of that setting."""
        self._fix = fix
        return self

    def as_dict(self) -> dict[str, Any]:
        """The error in JSON's types, to log it or to return it from a task.

        The keys are ``error`` (the name of the class), ``text``, ``hint``, ``outcome``,
        ``is_transient``, ``server``, ``reply``, ``accepted``, ``refused`` and ``earlier``, and
        those that only some classes have, such as ``retry_after``.
        """
        return {
            "error": type(self).__name__,
            "text": one_line(str(self)),
            "hint": self.hint,
            "outcome": jsonable(self.outcome),
            "is_transient": self.is_transient,
            "server": self.server,
            "reply": jsonable(self.reply),
            "accepted": list(self.accepted),
            "refused": jsonable(self.refused),
            "earlier": [error.as_dict() for error in self.earlier],
            **{name: jsonable(getattr(self, name)) for name in self._own_fields},
        }

    def _what(self) -> str:
        return one_line(str(self.args[0])) if self.args else type(self).__name__

    def _known_fix(self) -> str | None:
        return self._fix or (self.reply and fix_for(str(self.reply))) or self._usual_fix

    @property
    def _concerns_a_message(self) -> bool:
        # A Mailer sets server and outcome; SMTP does not, and programs written for smtplib
        # get its texts.
        return bool(self._always_concerns_a_message or self.server or "outcome" in vars(self))

    def __str__(self) -> str:
        if self.outcome is None or not self._concerns_a_message:
            return super().__str__()
        before = "".join(f"; before that: {error._what_and_where()}" for error in self.earlier)
        return f"{self._what_and_where()}: {_CONSEQUENCE[self.outcome]}{before}"

    def _what_and_where(self) -> str:
        return f"{self.what} [{self.server}]" if self.server else self.what


class TransientError(SMTPException):
    """Nobody has the message, and the same message may be sent again later.

    For the ``autoretry_for`` of a task queue, which knows classes only, while most errors are
    transient or not by the server's reply. ``__cause__`` is the error.
    """

    outcome: Outcome | None = Outcome.NOT_SENT
    is_transient = True
    _always_concerns_a_message = True

    @classmethod
    @contextmanager
    def translate(cls) -> Iterator[None]:
        """Raise a `TransientError` in place of an error after which the message may be sent again.

        Other errors pass as they are: after a permanent refusal another attempt is of no use, and
        after an unknown outcome, or where some recipients have it, they could get it twice.
        """
        try:
            yield
        except SMTPException as error:
            if not error.is_transient or error.outcome not in (Outcome.NOT_SENT, Outcome.REFUSED):
                raise
            failure = cls(one_line(str(error)))
            failure.reply, failure.server = error.reply, error.server
            raise failure from error
