"""SCRAM: the RFCs' examples, an independent server, and servers that cheat."""

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailbackends.protocol.sasl import (
    MAX_ITERATIONS,
    MIN_ITERATIONS,
    Credentials,
    SASLCredentialsError,
    SASLServerError,
    ScramSHA1,
    ScramSHA256,
    saslprep,
)
from support.scram_server import ScramServer

PENCIL = Credentials("user", "pencil")
BOTH = pytest.mark.parametrize("mechanism", [ScramSHA1, ScramSHA256])
OLDER = "fyko+d2lbbFgONRv9qkxdawL"
NEWER = "rOprNGfwEbeRWgbNEkqO"
EXAMPLES = pytest.mark.parametrize(
    ("mechanism", "nonce", "first", "server_first", "final", "server_final"),
    [
        pytest.param(
            ScramSHA1,
            OLDER,
            f"n,,n=user,r={OLDER}",
            f"r={OLDER}3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            f"c=biws,r={OLDER}3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            id="RFC 5802 section 5",
        ),
        pytest.param(
            ScramSHA256,
            NEWER,
            f"n,,n=user,r={NEWER}",
            f"r={NEWER}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            f"c=biws,r={NEWER}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            id="RFC 7677 section 3",
        ),
    ],
)


def begun(mechanism=ScramSHA256, credentials=PENCIL):
    """Return an exchange after the client's first message, with the nonce "abc"."""
    exchange = mechanism(credentials, nonce="abc")
    exchange.initial_response()
    return exchange


@EXAMPLES
def test_examples_of_the_rfcs(mechanism, nonce, first, server_first, final, server_final):
    exchange = mechanism(PENCIL, nonce=nonce)
    assert exchange.initial_response() == first.encode()
    assert exchange.respond(server_first.encode()) == final.encode()
    assert exchange.respond(server_final.encode()) == b""
    exchange.finish(b"2.7.0 Authentication successful")


@EXAMPLES
def test_the_servers_proof_may_be_in_the_text_of_the_235(
    mechanism, nonce, first, server_first, final, server_final
):
    exchange = mechanism(PENCIL, nonce=nonce)
    exchange.initial_response()
    exchange.respond(server_first.encode())
    exchange.finish(b"2.7.0 done " + base64.b64encode(server_final.encode()))


@BOTH
def test_each_exchange_has_a_different_nonce(mechanism):
    firsts = {mechanism(PENCIL).initial_response() for _ in range(100)}
    assert len(firsts) == 100
    nonces = {first.removeprefix(b"n,,n=user,r=") for first in firsts}
    assert all(len(nonce) >= 24 and b"," not in nonce for nonce in nonces)


text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x24F), min_size=1, max_size=20)


@settings(max_examples=15, deadline=None)
@given(
    mechanism=st.sampled_from([ScramSHA1, ScramSHA256]),
    username=text,
    password=text,
    acting_as=text | st.none(),
    salt=st.binary(min_size=1, max_size=40),
)
def test_a_server_made_from_the_rfc_agrees_for_any_account(
    mechanism, username, password, acting_as, salt
):
    try:
        secret = saslprep(password, is_stored=True).encode()
        names = saslprep(username), saslprep(acting_as) if acting_as else ""
    except SASLCredentialsError:
        return
    server = ScramServer(mechanism.hash_name, secret, salt=salt)
    exchange = mechanism(Credentials(username, password, authorization_identity=acting_as))
    challenge = server.first(exchange.initial_response())
    assert exchange.respond(server.final(exchange.respond(challenge))) == b""
    exchange.finish()
    assert (server.username, server.authorization_identity) == names


@BOTH
def test_a_wrong_password_ends_with_the_servers_535(mechanism):
    server = ScramServer(mechanism.hash_name, b"another")
    exchange = mechanism(PENCIL)
    final = exchange.respond(server.first(exchange.initial_response()))
    assert server.final(final) == b"e=invalid-proof"
    assert exchange.respond(b"e=invalid-proof") == b""
    assert exchange.refusal == b"e=invalid-proof"
    with pytest.raises(SASLServerError, match="without a proof"):
        exchange.finish()


@BOTH
def test_a_server_that_does_not_know_the_password_is_detected(mechanism):
    server = ScramServer(mechanism.hash_name, b"pencil")
    exchange = mechanism(PENCIL)
    challenge = server.first(exchange.initial_response())
    server.server_key = b"guessed"
    final = server.final(exchange.respond(challenge))
    with pytest.raises(SASLServerError, match="does not know the password"):
        exchange.respond(final)
    with pytest.raises(SASLServerError, match="without a proof"):
        exchange.finish()
    with pytest.raises(SASLServerError, match="beyond its end"):
        exchange.respond(final)


def test_a_wrong_proof_in_the_text_of_the_235_is_detected():
    exchange = begun()
    exchange.respond(b"r=abcdef,s=QSXCR+Q6sek8bf92,i=4096")
    with pytest.raises(SASLServerError, match="does not know the password"):
        exchange.finish(base64.b64encode(b"v=" + base64.b64encode(bytes(32))))


@pytest.mark.parametrize(
    "text", [b"", b"2.7.0 Authentication successful", b"AAAA", b"dj0=x", b"\xff\xfe", b"===="]
)
def test_a_235_without_a_proof_is_not_believed(text):
    exchange = begun()
    with pytest.raises(SASLServerError, match="without a proof"):
        exchange.finish(text)
    exchange = begun()
    exchange.respond(b"r=abcdef,s=QSXCR+Q6sek8bf92,i=4096")
    with pytest.raises(SASLServerError, match="without a proof"):
        exchange.finish(text)


def test_a_proof_in_the_235_does_not_count_if_there_was_no_exchange():
    with pytest.raises(SASLServerError, match="without a proof"):
        begun().finish(base64.b64encode(b"v=AAAA"))


@pytest.mark.parametrize(
    ("challenge", "reason"),
    [
        (b"", "malformed"),
        (b"\xff\x00", "malformed"),
        (b"r=abcdef", "malformed"),
        (b"s=QUJD,r=abcdef,i=4096", "malformed"),
        (b"m=new,r=abcdef,s=QUJD,i=4096", "malformed"),
        (b"r=abcdef,s=,i=4096", "malformed"),
        (b"r=abcdef,s=QUJD,i=04096", "malformed"),
        (b"r=abcdef,s=QUJD,i=-4096", "malformed"),
        (b"r=abcdef,s=QUJD,i=" + b"9" * 5000, "malformed"),
        (b"r=abcdef,s=QUJD,i=4096,", "malformed"),
        (b"r=abcdef,s=QUJD,i=4096\n", "malformed"),
        (b"r=abc\xc3\xbc,s=QUJD,i=4096", "malformed"),
        (b"r=abcdef,s=QUJ,i=4096", "not base64"),
        (b"r=abcdef,s=====,i=4096", "not base64"),
        (b"r=abc,s=QUJD,i=4096", "does not extend"),
        (b"r=xabcdef,s=QUJD,i=4096", "does not extend"),
        (b"r=abcdef,s=QUJD,i=1", "asks for 1 SCRAM iterations"),
        (b"r=abcdef,s=QUJD,i=%d" % (MIN_ITERATIONS - 1), "allowed are 4096 to 1000000"),
        (b"r=abcdef,s=QUJD,i=%d" % (MAX_ITERATIONS + 1), "allowed are 4096 to 1000000"),
        (b"r=abcdef,s=QUJD,i=9999999999", "allowed are 4096 to 1000000"),
    ],
)
def test_a_first_message_that_the_rfc_does_not_allow_costs_no_time(monkeypatch, challenge, reason):
    derived = []
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", lambda *given: derived.append(given))
    exchange = begun()
    with pytest.raises(SASLServerError, match=reason):
        exchange.respond(challenge)
    assert derived == []


@pytest.mark.parametrize("iterations", [MIN_ITERATIONS, MAX_ITERATIONS])
def test_the_limits_themselves_are_accepted(monkeypatch, iterations):
    asked = []
    monkeypatch.setattr(
        hashlib, "pbkdf2_hmac", lambda name, password, salt, count: asked.append(count) or b"key"
    )
    begun().respond(b"r=abcdef,s=QUJD,i=%d" % iterations)
    assert asked == [iterations]


def test_optional_extensions_are_ignored():
    assert begun().respond(b"r=abcdef,s=QUJD,i=4096,x=1,y=z=w").startswith(b"c=biws,r=abcdef,p=")


@pytest.mark.parametrize(
    "final", [b"", b"v=", b"v=\xff", b"x=AAAA", b"v=AAAA,", b"v=AAA", b"v=AAAA", b"\0" * 9000]
)
def test_a_final_message_that_proves_nothing_is_an_error(final):
    exchange = begun()
    exchange.respond(b"r=abcdef,s=QUJD,i=4096")
    with pytest.raises(SASLServerError):
        exchange.respond(final)


def test_after_the_servers_proof_the_response_is_empty():
    server = ScramServer("sha256", b"pencil")
    exchange = ScramSHA256(PENCIL)
    final = server.final(exchange.respond(server.first(exchange.initial_response())))
    exchange.respond(final)
    with pytest.raises(SASLServerError, match="SCRAM-SHA-256 beyond its end"):
        exchange.respond(final)
    exchange.finish(base64.b64encode(b"v=AAAA"))


@BOTH
def test_without_initial_response_the_empty_challenge_is_answered_with_it(mechanism):
    assert mechanism(PENCIL, nonce="abc").respond(b"") == b"n,,n=user,r=abc"


@pytest.mark.parametrize(
    ("credentials", "reason"),
    [
        (Credentials("", "pencil"), "the user name is empty"),
        (Credentials("us\aer", "pencil"), "the user name contains a control"),
        (Credentials("user", ""), "the password is empty"),
        (Credentials("user", "pen\tcil"), "the password contains a control"),
        (Credentials("user", "\U0001f511"), "the password contains a character newer"),
    ],
)
def test_unusable_credentials_are_found_before_anything_is_sent(credentials, reason):
    with pytest.raises(SASLCredentialsError, match=reason):
        ScramSHA256(credentials).initial_response()


def test_commas_and_equals_signs_in_names_do_not_separate_fields():
    credentials = Credentials("a=b,c", "pencil", authorization_identity="x,y=")
    first = ScramSHA256(credentials, nonce="abc").initial_response()
    assert first == b"n,a=x=2Cy=3D,n=a=3Db=2Cc,r=abc"
