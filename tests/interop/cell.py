"""One cell of the table: a server, a client, and the checks of what was sent and what arrived."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from interop import counts
from interop.clients import Access, AsyncMailerClient, Client, MailerClient, Sent, SmtpClient
from interop.frameworks import DjangoClient, FlaskClient
from interop.mails import Mail, check, check_text
from interop.servers.base import Arrival, Server, wait_until
from interop.servers.dovecot import token
from interop.servers.own import TOKEN

__all__ = ["CLIENTS", "Cell", "Form"]

CLIENTS: dict[str, type[Client]] = {
    kind.name: kind
    for kind in (SmtpClient, MailerClient, AsyncMailerClient, DjangoClient, FlaskClient)
}
_OAUTH = ("XOAUTH2", "OAUTHBEARER")
_ADDED = re.compile(rb"(?im)^(?:Date|From|Message-ID): .*\n")


class Form(Enum):
    """How what arrived is compared with what was sent."""

    AS_SENT = "byte by byte, but for line ends"
    FOLDED = "after unfolding"
    BLURRED = "without line ends, and dots next to them"


class Cell:
    """A server of the table, and a new client for each scenario."""

    def __init__(self, server: Server, kind: type[Client], cafile: str) -> None:
        self.server = server
        self.kind = kind
        self.cafile = cafile

    @property
    def sends_bytes(self) -> bool:
        """False for the frameworks, which write the message themselves."""
        return issubclass(self.kind, SmtpClient | MailerClient)

    @property
    def splits_recipients(self) -> bool:
        """False if the caller must send again to the recipients above a server's limit."""
        return self.kind is not SmtpClient

    def client(
        self,
        need: str = "plain",
        *,
        security: str = "none",
        mechanism: str | None = None,
        password: str = "secret",
        port: int | None = None,
        path: str | None = None,
        batch_pipeline: int = 1,
    ) -> Client:
        """A client for the endpoint that has what ``need`` names, or for another port or path."""
        endpoint = self.server.endpoint(need)
        user = endpoint.user or ("user" if mechanism is not None else None)
        bearer = None
        if mechanism in _OAUTH:
            bearer = TOKEN if self.server.name == "Nodemailer" else token("user")
            if password != "secret":
                bearer = password
        return self.kind(
            Access(
                port=endpoint.port if port is None else port,
                path=endpoint.path if path is None else path,
                protocol=self.server.protocol,
                security=security,
                cafile=self.cafile,
                username=user,
                password=password if user else None,
                token=bearer,
                mechanism=mechanism,
                batch_pipeline=batch_pipeline,
            )
        )

    def deliver(self, client: Client, *mails: Mail, arrives_as: Form = Form.AS_SENT) -> None:
        """Send each mail, and check that it arrived once, unchanged, for all its recipients."""
        for mail in mails:
            sent = client.send(mail)
            if sent.error is not None:
                raise sent.error
            assert sent == Sent()
            self.check_arrived(client, mail, arrives_as=arrives_as)

    def check_arrived(
        self,
        client: Client,
        mail: Mail,
        refused: Sequence[str] = (),
        *,
        arrives_as: Form = Form.AS_SENT,
    ) -> None:
        """Check that it arrived once for each recipient that was not refused, and no other."""
        recipients = [one for one in mail.recipients if one not in refused]
        whole = _on_the_wire(client, mail)
        for arrival in self.server.arrived(mail.token, recipients):
            if self.server.adds_fields and not whole.strip():
                assert not _ADDED.sub(b"", arrival.content).strip()
                counts.arrived["empty, with fields added"] += 1
            elif arrives_as is Form.AS_SENT:
                check(arrival, mail, whole, exactly=self.server.keeps_line_ends)
            elif arrives_as is Form.FOLDED:
                assert _unfolded(arrival.content) == _unfolded(whole)
                counts.arrived["unfolded"] += 1
            else:
                assert _blurred(arrival.content) == _blurred(whole)
                counts.arrived["without line ends and dots"] += 1
            if not self.sends_bytes and mail.attachment is None:
                check_text(arrival, mail)

    def check_all_arrived(self, client: Client, mails: Sequence[Mail]) -> None:
        """Check that each of many mails, for one recipient each, arrived once and unchanged."""
        stored: list[Arrival] = []

        def are_there() -> bool:
            stored[:] = self.server.stored()
            return len(stored) >= len(mails)

        wait_until(are_there, f"{len(mails)} messages", lambda: len(stored))
        assert len(stored) == len(mails)
        by_token = {re.findall(rb"t\d+n\d+e", one.content)[0].decode(): one for one in stored}
        for mail in mails:
            whole = _on_the_wire(client, mail)
            check(by_token[mail.token], mail, whole, exactly=self.server.keeps_line_ends)

    def check_refused(
        self, sent: Sent, *, transient: bool = False, code: int | None = None
    ) -> None:
        """Check that a refusal of the whole message was reported."""
        assert sent.outcome == "refused", repr(sent.error)
        assert getattr(sent.error, "is_transient", None) is transient, repr(sent.error)
        if code is not None:
            codes: set[object] = {*sent.refused.values()}
            codes = codes or {getattr(sent.error, "smtp_code", None)}
            assert codes == {code}, repr(sent.error)


def _on_the_wire(client: Client, mail: Mail) -> bytes:
    whole = client.content_of(mail)
    return re.sub(rb"\r\n|\r|\n", b"\r\n", whole) if client.makes_crlf else whole


def _blurred(content: bytes) -> bytes:
    """The content without line ends, the spaces that replace them, and dots next to them."""
    return b"|".join(part for part in re.split(rb"[\r\n .]+", content) if part)


def _unfolded(content: bytes) -> bytes:
    return content.replace(b"\r\n ", b"").rstrip()
