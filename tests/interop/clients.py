"""The four ways into the library, with one face: `SMTP`, `Mailer`, Django and Flask."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from interop import tally
from interop.letters import Letter
from mailbackends import (
    LMTP,
    SMTP,
    SMTP_SSL,
    Mailer,
    SMTPDataError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

__all__ = ["Access", "Client", "MailerClient", "Sent", "SmtpClient"]

TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class Access:
    """A server, and how to reach it."""

    port: int = 0
    path: str | None = None
    protocol: str = "smtp"
    security: str = "none"
    cafile: str | None = None
    username: str | None = None
    password: str | None = None
    token: str | None = None
    mechanism: str | None = None
    timeout: float = TIMEOUT

    def options(self) -> dict[str, Any]:
        """By the names of `mailbackends.Options`."""
        said: dict[str, Any] = {
            "host": "127.0.0.1",
            "protocol": self.protocol,
            "security": self.security,
            "local_hostname": "client.test",
            "timeout": self.timeout,
            "content_timeout": TIMEOUT,
            "max_messages_per_connection": 1000,
        }
        if self.path is None:
            said["port"] = self.port
        else:
            said["socket_path"] = self.path
        if self.security != "none" and self.cafile is not None:
            said["ssl_cafile"] = self.cafile
        if self.username is not None:
            said["username"] = self.username
            if self.token is not None:
                said["token_provider"] = Token(self.token)
            else:
                said["password"] = self.password
        if self.mechanism is not None:
            said["auth_mechanisms"] = (self.mechanism,)
        return said


@dataclass(frozen=True, slots=True)
class Token:
    """A provider of tokens that is equal to another of the same token."""

    value: str = field(repr=False)

    def __call__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Sent:
    """What the caller was told: the codes of those who were refused, and any error."""

    refused: dict[str, int] = field(default_factory=dict)
    error: Exception | None = None

    @property
    def outcome(self) -> str:
        """As the library names it."""
        error = self.error
        if error is None:
            return "accepted"
        if told := getattr(error, "outcome", None):
            return str(told)
        # The interface of smtplib has no outcomes: its classes say it.
        reply = getattr(error, "reply", None)
        is_closed = isinstance(error, SMTPServerDisconnected) or (reply and reply.code == 421)
        if is_closed:
            return "not_sent"
        if isinstance(error, SMTPSenderRefused | SMTPRecipientsRefused | SMTPDataError):
            return "refused"
        return type(error).__name__


class Client(ABC):
    """Sends letters to one server, over connections that it keeps."""

    name: str
    makes_crlf = True
    """False where a CR or LF that stands alone is sent as it is."""
    keeps_trying = True
    """False where a connection that broke while it was idle is the caller's to renew."""

    def __init__(self, access: Access) -> None:
        self.access = access

    def send(self, letter: Letter) -> Sent:
        """Send one, and return what came of it, refusals and errors included."""
        sent = self._sent(letter)
        # Where there was no message yet, the interface of smtplib has no outcome.
        known = sent.outcome in ("accepted", "refused", "unknown")
        tally.messages[sent.outcome if known else "not_sent"] += 1
        return sent

    def _sent(self, letter: Letter) -> Sent:
        try:
            return Sent(self._send(letter))
        except (SMTPException, ValueError) as error:
            refused = getattr(error, "refused", None) or {}
            if isinstance(error, SMTPRecipientsRefused):
                return Sent({who: code for who, (code, _) in error.recipients.items()}, error)
            return Sent({who: reply.code for who, reply in refused.items()}, error)

    def send_all(self, letters: Iterable[Letter]) -> list[Sent]:
        """Send many."""
        return [self.send(letter) for letter in letters]

    @abstractmethod
    def _send(self, letter: Letter) -> dict[str, int]:
        """Returns those refused, with their codes; raises what the library raises."""

    @abstractmethod
    def content_of(self, letter: Letter) -> bytes:
        """The bytes that must arrive, with any line ends, and any boundary between parts."""

    @abstractmethod
    def close(self) -> None:
        """Close all connections."""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class SmtpClient(Client):
    """`mailbackends.SMTP`, `SMTP_SSL` and `LMTP`, used as smtplib is."""

    name = "SMTP"
    keeps_trying = False
    makes_crlf = False

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._smtp: SMTP | None = None

    def _send(self, letter: Letter) -> dict[str, int]:
        if self._smtp is None or self._smtp.sock is None:
            self._smtp = self._connected()
        options = ["SMTPUTF8"] if letter.needs_utf8 else []
        if letter.is_8bit:
            options.append("BODY=8BITMIME")
        try:
            refused = self._smtp.sendmail(letter.sender, letter.recipients, letter.raw, options)
        except SMTPServerDisconnected:
            self.close()
            raise
        return {who: code for who, (code, _) in refused.items()}

    def say(self, command: str, *, times: int) -> list[int]:
        """Say this over and over, and return the codes until the connection has ended."""
        assert self._smtp is not None
        codes = []
        for _ in range(times):
            try:
                codes.append(self._smtp.docmd(command)[0])
            except SMTPServerDisconnected:
                break
        return codes

    def _connected(self) -> SMTP:
        access = self.access
        tls = self._context() if access.security != "none" else None
        smtp: SMTP
        if access.protocol == "lmtp":
            smtp = LMTP(access.path or "127.0.0.1", access.port, "client.test", timeout=TIMEOUT)
        elif access.security == "tls":
            smtp = SMTP_SSL("127.0.0.1", access.port, "client.test", timeout=TIMEOUT, context=tls)
        else:
            smtp = SMTP("127.0.0.1", access.port, "client.test", timeout=TIMEOUT)
        try:
            if access.security == "starttls":
                smtp.starttls(context=tls)
            if access.username is not None:
                self._login(smtp)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.access.cafile)

    def _login(self, smtp: SMTP) -> None:
        access = self.access
        smtp.ehlo_or_helo_if_needed()
        if access.mechanism is not None and access.mechanism not in smtp.esmtp_features.get(
            "auth", ""
        ):
            smtp.esmtp_features["auth"] = "NONE"
        elif access.mechanism is not None:
            # What an application does that wants this one: there is no argument for it.
            smtp.esmtp_features["auth"] = access.mechanism
        secret = access.password or "" if access.token is None else Token(access.token)
        smtp.login(access.username or "", secret)

    def content_of(self, letter: Letter) -> bytes:
        return letter.raw

    def close(self) -> None:
        smtp, self._smtp = self._smtp, None
        if smtp is not None and smtp.sock is not None:
            try:
                smtp.quit()
            except SMTPException:
                smtp.close()


class MailerClient(Client):
    """`mailbackends.Mailer`, given bytes."""

    name = "Mailer"

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._mailer = Mailer(**access.options())

    def _send(self, letter: Letter) -> dict[str, int]:
        options = ["BODY=8BITMIME"] if letter.is_8bit and letter.needs_utf8 else []
        receipt = self._mailer.send_message(letter.raw, letter.sender, letter.recipients, options)
        return {who: reply.code for who, reply in receipt.refused.items()}

    def content_of(self, letter: Letter) -> bytes:
        return letter.raw

    def close(self) -> None:
        self._mailer.close()
