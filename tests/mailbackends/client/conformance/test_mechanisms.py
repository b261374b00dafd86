"""What login() does beyond the standard library's; docs/smtplib.md: `auth-mechanisms`"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from support.conformance import OURS
from support.peer import Peer
from support.scram_server import ScramServer
from support.talk import Talk, TalkServer

NO = "535 5.7.8 No"


def announcing(line: str, /, **answers: Any) -> Talk:
    return Talk(ehlo=f"250-mail.test\r\n250-{line}\r\n250 SIZE", **answers)


def scram_talk(
    server: ScramServer, mechanism: str, ending: str = "235 ok"
) -> Callable[[Peer], None]:
    def play(peer: Peer) -> None:
        peer.send(b"220 hi\r\n")
        peer.read_line()
        peer.send(f"250-mail.test\r\n250 AUTH PLAIN {mechanism} LOGIN\r\n".encode())
        verb, name, initial = peer.read_line().split(b" ")
        assert (verb, name) == (b"AUTH", mechanism.encode())
        peer.send(b"334 " + base64.b64encode(server.first(base64.b64decode(initial))) + b"\r\n")
        last = server.final(base64.b64decode(peer.read_line()))
        peer.send(b"334 " + base64.b64encode(last) + b"\r\n")
        assert peer.read_line() in (b"", b"*")
        peer.send(ending.encode() + b"\r\n")
        peer.read_to_end()

    return play


@pytest.mark.parametrize(
    ("mechanism", "hash_name"), [("SCRAM-SHA-256", "sha256"), ("SCRAM-SHA-1", "sha1")]
)
def test_scram_is_preferred_and_does_not_send_the_password(mechanism: str, hash_name: str) -> None:
    scram = ScramServer(hash_name, b"pencil")
    with TalkServer(scram_talk(scram, mechanism)) as server:
        client = OURS.SMTP(server.host, server.port, "a.test", 5)
        assert client.login("user", "pencil") == (235, b"ok")
        assert scram.username == "user"
        client.close()


def test_after_a_server_that_cannot_prove_itself_no_weaker_mechanism_is_tried() -> None:
    impostor = ScramServer("sha256", b"something else")
    impostor.final = lambda message: b"v=" + base64.b64encode(bytes(32))  # type: ignore[method-assign]
    with TalkServer(scram_talk(impostor, "SCRAM-SHA-256", "501 cancelled")) as server:
        client = OURS.SMTP(server.host, server.port, "a.test", 5)
        with pytest.raises(OURS.SMTPAuthenticationError, match="signature is wrong"):
            client.login("user", "pencil")
        client.close()
        assert b"PLAIN" not in server.received()[0]


def test_a_server_that_skips_its_proof_is_not_believed() -> None:
    talk = announcing("AUTH SCRAM-SHA-256 PLAIN", auth="235 come in")
    with TalkServer(talk) as server:
        client = OURS.SMTP(server.host, server.port, "a.test", 5)
        with pytest.raises(OURS.SMTPAuthenticationError, match="without a proof"):
            client.login("user", "pencil")
        assert client.sock is None


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_the_token_provider_is_called_once_more_after_535(mechanism: str) -> None:
    tokens = ["expired", "fresh", "never"]
    talk = announcing(
        f"AUTH {mechanism} PLAIN", auth="334 eyJzdGF0dXMiOiI0MDEifQ==", response=[NO, "235 ok"]
    )
    with TalkServer(talk) as server:
        client = OURS.SMTP(server.host, server.port, "a.test", 5)
        assert client.login("user@b.test", lambda: tokens.pop(0)) == (235, b"ok")
        client.close()
        given = [
            base64.b64decode(line.split(b" ")[2])
            for line in server.received()[0].split(b"\r\n")
            if line.startswith(b"AUTH")
        ]
    assert [(b"expired" in text, b"fresh" in text) for text in given] == [(1, 0), (0, 1)]
    assert tokens == ["never"]


def test_the_token_provider_is_called_only_once_after_another_refusal_than_535() -> None:
    tokens = ["first", "second"]
    with TalkServer(announcing("AUTH XOAUTH2", auth="454 later")) as server:
        client = OURS.SMTP(server.host, server.port, "a.test", 5)
        with pytest.raises(OURS.SMTPAuthenticationError) as caught:
            client.login("user@b.test", lambda: tokens.pop(0))
        assert caught.value.smtp_code == 454
        assert tokens == ["second"]
        client.close()


def test_half_a_surrogate_pair_is_refused_without_the_secret_in_the_error() -> None:
    """docs/smtplib.md: `auth-unicode`"""
    with TalkServer(announcing("AUTH PLAIN")) as server:
        client = OURS.SMTP(server.host, server.port, "a.test", 5)
        with pytest.raises(OURS.SMTPAuthenticationError) as caught:
            client.auth("PLAIN", lambda challenge=None: "\0user\0hunter2\ud800")
        error: BaseException | None = caught.value
        while error is not None:
            assert "hunter2" not in repr(error)
            assert "hunter2" not in str(vars(error))
            assert not isinstance(error, UnicodeError)
            error = error.__cause__ or error.__context__
        client.close()


def test_a_server_that_quotes_the_credentials_does_not_get_them_into_the_error() -> None:
    """docs/smtplib.md: `debug-masked`"""
    with TalkServer(announcing("AUTH PLAIN", auth=b"535 bad: AHVzZXIAc2VjcmV0\r\n")) as server:
        client = OURS.SMTP(server.host, server.port, "a.test", 5)
        with pytest.raises(OURS.SMTPAuthenticationError) as caught:
            client.login("user", "secret")
        assert caught.value.args == (535, b"bad: ***")
        client.close()
