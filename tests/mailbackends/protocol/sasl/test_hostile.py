"""With any server an exchange gives bytes or a documented error, ends, and shows no secret."""

import gc
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailbackends.protocol.sasl import (
    MAX_CHALLENGE,
    MECHANISMS,
    CramMD5,
    Credentials,
    External,
    Login,
    OAuthBearer,
    Plain,
    SASLCredentialsError,
    SASLError,
    SASLRestartError,
    SASLServerError,
    ScramSHA1,
    ScramSHA256,
    XOAuth2,
)

SECRET = "hunter2-s3cr3t"
ALL = Credentials("user", SECRET, token_provider=lambda: SECRET)

anything = st.binary(max_size=300) | st.sampled_from(
    [b"", b"Username:", b"Password:", b'{"status":"400"}', b"e=other-error", b"v=AAAA", b"m=x"]
)
server_first = st.builds(
    lambda nonce, salt, count, tail: b"r=abc%s,s=%s,i=%s%s" % (nonce, salt, count, tail),
    st.sampled_from([b"", b"d", b"\xff", b","]),
    st.sampled_from([b"", b"QUJD", b"QUJ", b"===="]),
    # Allowed iteration counts cost time; the two bounds are tested separately.
    st.sampled_from([b"", b"0", b"4095", b"4096", b"1000001", b"9" * 5000]),
    st.sampled_from([b"", b",x=1", b",", b"\0"]),
)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@settings(max_examples=60, deadline=None)
@given(
    challenges=st.lists(anything | server_first, min_size=6, max_size=6),
    speaks_first=st.booleans(),
    reply_text=st.binary(max_size=100),
)
def test_any_challenges_get_bytes_or_the_documented_error_and_come_to_an_end(
    mechanism, challenges, speaks_first, reply_text
):
    options = {"nonce": "abc"} if mechanism in (ScramSHA1, ScramSHA256) else {}
    exchange = mechanism(ALL, **options)
    if speaks_first:
        exchange.initial_response()
    answers = []
    with pytest.raises((SASLServerError, SASLRestartError)):
        answers.extend(exchange.respond(challenge) for challenge in challenges)
    assert len(answers) <= 3
    assert {bytes}.issuperset(map(type, answers))
    with pytest.raises(SASLServerError):
        exchange.respond(b"")
    if mechanism in (ScramSHA1, ScramSHA256):
        with pytest.raises(SASLServerError):
            exchange.finish(reply_text)
    else:
        exchange.finish(reply_text)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_challenge_beyond_the_limit_ends_the_exchange_at_every_step(mechanism):
    for steps in range(2):
        exchange = mechanism(ALL)
        if steps:
            exchange.initial_response()
        with pytest.raises(SASLServerError, match="longer than 9216 octets"):
            exchange.respond(bytes(MAX_CHALLENGE + 1))
        with pytest.raises(SASLServerError, match="beyond its end"):
            exchange.respond(b"")
        with pytest.raises(RuntimeError):
            exchange.initial_response()


def test_a_challenge_of_the_limit_is_answered():
    assert CramMD5(ALL).respond(bytes(MAX_CHALLENGE)).startswith(b"user ")


def frames(error):
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals["__name__"].startswith("mailbackends."):
            yield traceback.tb_frame
        traceback = traceback.tb_next


def assert_tells_nothing(error):
    assert SECRET not in f"{error} {error!r} {error.args!r}"
    assert error.__cause__ is None
    assert error.__context__ is None
    seen = list(frames(error))
    assert seen
    for frame in seen:
        for value in frame.f_locals.values():
            assert SECRET not in f"{value} {value!r}"
            assert value != SECRET.encode()


@pytest.mark.parametrize("mechanism", [Plain, Login, CramMD5, ScramSHA1, ScramSHA256])
@pytest.mark.parametrize("flaw", ["\0", "ü\a", "\ud800", "ü\u0627"])
def test_no_secret_in_the_error_or_its_traceback_when_the_password_is_unusable(mechanism, flaw):
    if flaw.startswith("ü") and mechanism in (Plain, Login, CramMD5):
        mechanism(Credentials("user", SECRET + flaw)).initial_response()  # sent unprepared
        return
    with pytest.raises(SASLCredentialsError) as caught:
        mechanism(Credentials("user", SECRET + flaw)).initial_response()
    assert_tells_nothing(caught.value)


@pytest.mark.parametrize("mechanism", [OAuthBearer, XOAuth2])
def test_no_secret_in_the_error_or_its_traceback_when_the_token_is_unusable(mechanism):
    credentials = Credentials("user", token_provider=lambda: SECRET + "\n")
    with pytest.raises(SASLCredentialsError) as caught:
        mechanism(credentials).initial_response()
    assert_tells_nothing(caught.value)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_no_secret_in_the_error_or_its_traceback_when_the_server_is_at_fault(mechanism):
    exchange = mechanism(ALL)
    exchange.initial_response()
    with pytest.raises((SASLServerError, SASLRestartError)) as caught:
        list(map(exchange.respond, [b"\xff"] * 5))
    assert_tells_nothing(caught.value)


def test_no_secret_in_the_error_or_its_traceback_when_the_servers_proof_is_wrong():
    exchange = ScramSHA256(ALL, nonce="abc")
    exchange.initial_response()
    exchange.respond(b"r=abcd,s=QUJD,i=4096")
    with pytest.raises(SASLServerError) as caught:
        exchange.respond(b"v=AAAA")
    assert_tells_nothing(caught.value)


def test_no_secret_in_the_repr_of_credentials_and_mechanisms():
    assert repr(ALL) == "Credentials(username='user', authorization_identity=None)"
    assert not any(SECRET in repr(mechanism(ALL)) for mechanism in MECHANISMS)


@pytest.mark.parametrize("error", [SASLError, SASLCredentialsError, SASLServerError])
def test_errors_are_value_errors_and_survive_pickling(error):
    copy = pickle.loads(pickle.dumps(error("why")))  # noqa: S301 - made in the line itself
    assert (type(copy), str(copy)) == (error, "why")
    assert isinstance(copy, ValueError)


def test_mechanisms_state_whether_they_send_a_secret():
    showing = {mechanism for mechanism in MECHANISMS if mechanism.sends_secret_in_clear}
    assert showing == {Plain, Login, OAuthBearer, XOAuth2}
    assert {External, CramMD5, ScramSHA1, ScramSHA256} == set(MECHANISMS) - showing


def test_an_abandoned_exchange_can_be_garbage_collected():
    Plain(ALL)
    exchange = Login(ALL)
    exchange.initial_response()
    del exchange
    gc.collect()
    assert gc.garbage == []
