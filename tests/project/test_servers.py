"""The servers that the other tests rely on, tried with the standard library's client."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Iterator

import pytest

from support.face import Face, TLSMode
from support.scripted import ScriptedServer
from support.server import MailServer
from support.sink import Sink

CONTENT = b"Subject: hello\r\n\r\n.dot\r\n..\r\nlast line\r\n"
LOGIN = ("user", "secret")


@pytest.fixture(params=[MailServer, Sink])
def kind(request: pytest.FixtureRequest) -> type[MailServer | Sink]:
    """Both servers show the same face."""
    kind: type[MailServer | Sink] = request.param
    return kind


@pytest.fixture
def server(kind: type[MailServer | Sink]) -> Iterator[MailServer | Sink]:
    with kind() as server:
        yield server


def client_of(server: Face) -> smtplib.SMTP:
    context = ssl.create_default_context(cafile=server.cafile)
    if server.tls == "tls":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=10, context=context)
    client = smtplib.SMTP(server.host, server.port, timeout=10)
    if server.tls == "starttls":
        client.starttls(context=context)
    return client


@pytest.mark.parametrize("tls", ["none", "starttls", "tls"])
def test_a_message_arrives_as_it_was_sent(kind: type[MailServer | Sink], tls: TLSMode) -> None:
    with kind(tls=tls, login=LOGIN, require_login=True) as server:
        with client_of(server) as client:
            with pytest.raises(smtplib.SMTPSenderRefused, match="530"):
                client.sendmail("from@example.com", "to@example.com", CONTENT)
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("user", "wrong")
            client.login(*LOGIN)
            client.sendmail("from@example.com", ["a@example.com", "b@example.com"], CONTENT)
        received = server.message
    assert received.content == CONTENT
    assert received.mail_from == "from@example.com"
    assert received.rcpt_tos == ("a@example.com", "b@example.com")
    assert received.user == "user"
    assert received.is_tls is (tls != "none")
    assert received.message["subject"] == "hello"
    assert f"SIZE={len(CONTENT)}" in [o.upper() for o in received.mail_options]
    assert server.connections == 1
    assert server.open_connections == 0
    assert server.commands[0][-1].upper() == "QUIT"


def test_a_certificate_is_invalid_for_another_authority_or_name(
    kind: type[MailServer | Sink],
) -> None:
    strict = ssl.create_default_context()
    with kind(tls="starttls") as server, smtplib.SMTP(server.host, server.port) as client:
        with pytest.raises(ssl.SSLCertVerificationError):
            client.starttls(context=strict)
        client.close()
    for wrong in ({"names": ("other.test",)}, {"expired": True}):
        with (
            kind(tls="starttls", **wrong) as server,
            pytest.raises(ssl.SSLCertVerificationError),
            client_of(server),
        ):
            pass


def test_a_refusal_happens_the_given_number_of_times(server: Face) -> None:
    server.refuse("never@example.com")
    server.refuse("once@example.com", "450-4.2.1 Come\r\n450 4.2.1 again", times=1)
    server.refuse_sender("bad@example.com", "553 5.1.8 Who?")
    server.refuse_content("554 5.7.1 Spam", times=1)
    server.answer("NOOP", "502 5.5.1 No")
    with client_of(server) as client:
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail("bad@example.com", "to@example.com", CONTENT)
        with pytest.raises(smtplib.SMTPDataError):
            client.sendmail("from@example.com", "to@example.com", CONTENT)
        everyone = ["never@example.com", "once@example.com", "to@example.com"]
        refused = client.sendmail("from@example.com", everyone, CONTENT)
        assert refused == {
            "never@example.com": (550, b"5.1.1 No such user"),
            "once@example.com": (450, b"4.2.1 Come\n4.2.1 again"),
        }
        assert [*client.sendmail("from@example.com", everyone, CONTENT)] == ["never@example.com"]
        assert client.noop() == (502, b"5.5.1 No")
        assert client.noop()[0] == 250
    assert [m.rcpt_tos[0] for m in server.messages] == ["to@example.com", "once@example.com"]


@pytest.mark.parametrize("tls", ["none", "starttls", "tls"])
def test_the_server_closes_where_it_is_configured_to(
    kind: type[MailServer | Sink], tls: TLSMode
) -> None:
    with kind(tls=tls) as server:
        for place in ("content", "DATA", "RCPT"):
            server.hang_up(place)
            with client_of(server) as client, pytest.raises(smtplib.SMTPServerDisconnected):
                client.sendmail("from@example.com", "to@example.com", CONTENT)
        server.answer("MAIL", "421 4.3.2 Going down")
        with client_of(server) as client, pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail("from@example.com", "to@example.com", CONTENT)
        with client_of(server) as client:
            client.ehlo()
            server.close_connections(b"421 4.4.2 Idle\r\n")
            assert server.open_connections == 0
            assert client.noop() == (421, b"4.4.2 Idle")
            client.close()
        assert server.connections == 5
    assert server.messages == []


def test_a_server_stops_with_clients_connected(kind: type[MailServer | Sink]) -> None:
    with kind(tls="tls") as server:
        client = client_of(server)
        client.ehlo()
    assert server.open_connections == 0
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.noop()
    client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port))


def test_a_sink_restarts_on_its_port() -> None:
    with Sink() as sink:
        sink.stop()
        sink.start()
        with client_of(sink) as client:
            assert client.noop()[0] == 250


def talk(server: Sink, *writes: bytes) -> list[bytes]:
    """Write each as soon as the reply to the one before is there; the replies."""
    replies = []
    with socket.create_connection((server.host, server.port), 10) as sock:
        sock.recv(1000)
        for data in writes:
            sock.sendall(data)
            replies.append(sock.recv(10_000))
    return replies


GROUP = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"


def test_round_trips_are_counted() -> None:
    chunked = b"RSET\r\n" + GROUP + b"BDAT 4 LAST\r\nabc\n"
    with Sink() as sink:
        replies = talk(sink, b"EHLO me\r\n", GROUP + b"DATA\r\n", b".\r\n", chunked, chunked)
        assert sink.violations == []
    assert len(sink.flights[0]) == 5
    assert sink.flights[0][3] == chunked
    assert [r.split(b"\r\n")[-2][:3] for r in replies] == [b"250", b"354", b"250", b"250", b"250"]
    assert [m.content for m in sink.messages] == [b"", b"abc\n", b"abc\n"]


def test_content_in_many_segments_is_one_round_trip() -> None:
    content = bytes(3_000_000)
    with Sink() as sink:
        talk(sink, b"EHLO me\r\n", GROUP + b"BDAT 3000000 LAST\r\n" + content)
    assert len(sink.flights[0]) == 2
    assert sink.message.content == content


def test_an_extension_that_was_not_announced_is_refused() -> None:
    with Sink(extensions=()) as sink:
        assert talk(sink, b"EHLO me\r\n", GROUP)[1].startswith(b"500")
        assert sink.violations == ["did not wait for the reply to MAIL"]
        option = b"MAIL FROM:<a@b.test> SMTPUTF8\r\n"
        assert talk(sink, b"EHLO me\r\n", b"BDAT 1\r\n", option)[1:] == [
            b"500 5.5.2 Unknown command\r\n",
            b"555 5.5.4 Unsupported option SMTPUTF8\r\n",
        ]


def test_nothing_may_follow_the_last_command_of_a_group() -> None:
    with Sink() as sink:
        assert talk(sink, b"EHLO me\r\n" + GROUP)[0].startswith(b"500")
        assert sink.violations == ["did not wait for the reply to EHLO"]


def test_a_cut_ends_the_connection_at_the_byte() -> None:
    for offset in range(0, 60, 7):
        with Sink() as sink:
            sink.cut(received=offset)
            with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
                client_of(sink).sendmail("a@b.test", "c@d.test", CONTENT)
            assert len(sink.received()) == offset
        with Sink() as sink:
            sink.cut(sent=offset, reset=True)
            with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
                client_of(sink).sendmail("a@b.test", "c@d.test", CONTENT)
            assert len(sink.sent()) == offset


def test_a_stalled_sink_sends_nothing() -> None:
    with Sink() as sink:
        sink.stall("RCPT")
        with client_of(sink) as client:
            assert client.sock is not None
            client.mail("a@b.test")
            client.sock.settimeout(0.05)
            with pytest.raises(smtplib.SMTPServerDisconnected):
                client.rcpt("c@d.test")


def test_lmtp_replies_for_each_recipient() -> None:
    with Sink(lmtp=True) as sink:
        sink.refuse_delivery("full@d.test")
        with smtplib.LMTP(sink.host, sink.port) as client:
            client.ehlo_or_helo_if_needed()
            client.mail("a@b.test")
            client.rcpt("full@d.test")
            client.rcpt("good@d.test")
            assert client.data(CONTENT)[0] == 552
            assert client.getreply()[0] == 250
    assert sink.message.rcpt_tos == ("good@d.test",)


def test_a_client_that_deviates_from_the_script_fails_the_test() -> None:
    with (
        pytest.raises(AssertionError, match="the script says"),
        ScriptedServer([(None, b"220 hi\r\n"), (b"HELO", b"250 mine\r\n")]) as server,
        smtplib.SMTP(server.host, server.port) as client,
        pytest.raises(smtplib.SMTPServerDisconnected),
    ):
        client.ehlo()
