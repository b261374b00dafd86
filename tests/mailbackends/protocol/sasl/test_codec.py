"""Challenges and responses on the wire (RFC 4954 section 4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends.protocol.sasl import (
    MAX_CHALLENGE,
    SASLServerError,
    decode_challenge,
    encode_initial_response,
    encode_response,
)


@given(st.binary(max_size=MAX_CHALLENGE))
def test_an_encoded_response_decodes_to_itself(data):
    assert decode_challenge(encode_response(data)) == data
    assert b"\n" not in encode_response(data)


@given(st.binary())
def test_any_text_is_a_challenge_or_the_documented_error(text):
    try:
        challenge = decode_challenge(text)
    except SASLServerError:
        return
    assert len(challenge) <= len(text)


def test_an_empty_initial_response_is_an_equals_sign_and_an_empty_response_nothing():
    assert encode_initial_response(b"") == b"="
    assert encode_initial_response(b"user") == b"dXNlcg=="
    assert encode_response(b"") == b""


@pytest.mark.parametrize(
    "text", [b"=", b"=AAA", b"AAA=BBB", b"AAA", b"AA=A", b"Username:", b"QUJD!", b"QU JD", b"\xff"]
)
def test_a_stray_character_or_padding_is_refused_and_not_ignored(text):
    with pytest.raises(SASLServerError, match="not base64"):
        decode_challenge(text)


@pytest.mark.parametrize("text", [b"", b" ", b"\t "])
def test_spaces_are_an_empty_challenge(text):
    assert decode_challenge(text) == b""


def test_the_longest_challenge_is_accepted_and_one_more_octet_is_not():
    longest = encode_response(bytes(MAX_CHALLENGE))
    assert len(longest) == 12288
    assert len(decode_challenge(longest)) == MAX_CHALLENGE
    with pytest.raises(SASLServerError, match="longer than 12288 octets"):
        decode_challenge(longest + b"A")
