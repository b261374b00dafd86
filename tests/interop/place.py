"""One cell of the table: a server, a client, and what both are to do."""

from __future__ import annotations

import re
from collections.abc import Sequence

from interop import tally
from interop.clients import Access, Client, MailerClient, Sent, SmtpClient
from interop.frameworks import DjangoClient, FlaskClient
from interop.letters import Letter, check, check_text
from interop.servers.base import Arrival, Server, wait_until
from interop.servers.dovecot import token
from interop.servers.own import TOKEN

__all__ = ["CLIENTS", "Place"]

CLIENTS: dict[str, type[Client]] = {
    kind.name: kind for kind in (SmtpClient, MailerClient, DjangoClient, FlaskClient)
}
_OAUTH = ("XOAUTH2", "OAUTHBEARER")


class Place:
    """A server of the table, and a client that is made anew for each scenario."""

    def __init__(self, server: Server, kind: type[Client], cafile: str) -> None:
        self.server = server
        self.kind = kind
        self.cafile = cafile

    @property
    def sends_bytes(self) -> bool:
        """False for the frameworks, which make messages of their own."""
        return self.kind in (SmtpClient, MailerClient)

    def client(
        self,
        need: str = "plain",
        *,
        security: str = "none",
        mechanism: str | None = None,
        password: str = "secret",
        port: int | None = None,
        path: str | None = None,
    ) -> Client:
        """A client that goes to where ``need`` can be had, or to another port or path."""
        place = self.server.endpoint(need)
        user = place.user or ("user" if mechanism is not None else None)
        bearer = None
        if mechanism in _OAUTH:
            bearer = TOKEN if self.server.name == "Nodemailer" else token("user")
            if password != "secret":
                bearer = password
        return self.kind(
            Access(
                port=place.port if port is None else port,
                path=place.path if path is None else path,
                protocol=self.server.protocol,
                security=security,
                cafile=self.cafile,
                username=user,
                password=password if user else None,
                token=bearer,
                mechanism=mechanism,
            )
        )

    def deliver(self, client: Client, *letters: Letter) -> None:
        """Send each letter, and see that it arrived once, as it was, for all its recipients."""
        for letter in letters:
            sent = client.send(letter)
            if sent.error is not None:
                raise sent.error
            assert sent == Sent()
            self.see_arrived(client, letter)

    def see_arrived(
        self, client: Client, letter: Letter, refused: Sequence[str] = (), *, dots: bool = True
    ) -> None:
        """See that it arrived once for each who was not refused, and no one else.

        Without ``dots`` those at the beginnings of lines may be more.
        """
        recipients = [one for one in letter.recipients if one not in refused]
        whole = _on_the_wire(client, letter)
        for arrival in self.server.arrived(letter.token, recipients):
            if dots:
                check(arrival, letter, whole, exactly=self.server.keeps_line_ends)
            else:
                assert _blurred(arrival.content) == _blurred(whole)
                tally.arrived["without line ends and dots"] += 1
            if not self.sends_bytes and letter.attachment is None:
                check_text(arrival, letter)

    def see_all_arrived(self, client: Client, letters: Sequence[Letter]) -> None:
        """See that each of many letters, for one recipient each, arrived once and as it was."""
        stored: list[Arrival] = []

        def are_there() -> bool:
            stored[:] = self.server.stored()
            return len(stored) >= len(letters)

        wait_until(are_there, f"{len(letters)} messages", lambda: len(stored))
        assert len(stored) == len(letters)
        by_token = {re.findall(rb"t\d+n\d+e", one.content)[0].decode(): one for one in stored}
        for letter in letters:
            whole = _on_the_wire(client, letter)
            check(by_token[letter.token], letter, whole, exactly=self.server.keeps_line_ends)

    def see_refused(self, sent: Sent, *, transient: bool = False, code: int | None = None) -> None:
        """See that the caller was told of a refusal as a whole."""
        assert sent.outcome == "refused", repr(sent.error)
        assert getattr(sent.error, "is_transient", None) is transient
        if code is not None:
            codes: set[object] = {*sent.refused.values()}
            codes = codes or {getattr(sent.error, "smtp_code", None)}
            assert codes == {code}, repr(sent.error)


def _on_the_wire(client: Client, letter: Letter) -> bytes:
    whole = client.content_of(letter)
    return re.sub(rb"\r\n|\r|\n", b"\r\n", whole) if client.makes_crlf else whole


def _blurred(content: bytes) -> bytes:
    """Without what tells one line end, or a space in its place, from another, and dots there."""
    return b"|".join(part for part in re.split(rb"[\r\n .]+", content) if part)
