"""Which mechanisms are tried, and in which order."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends.errors import ConfigurationError, SMTPNotSupportedError
from mailbackends.protocol.sasl import MECHANISMS, Credentials, choose

NAMES = [mechanism.name for mechanism in MECHANISMS]
PASSWORD = Credentials("user", "secret")
TOKEN = Credentials("user", token_provider=lambda: "token")
BOTH = Credentials("user", "secret", token_provider=lambda: "token")


def names(*arguments):
    return [mechanism.name for mechanism in choose(*arguments)]


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        (PASSWORD, ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"]),
        (TOKEN, ["OAUTHBEARER", "XOAUTH2"]),
        (BOTH, [name for name in NAMES if name != "EXTERNAL"]),
        (Credentials(token_provider=lambda: "token"), ["OAUTHBEARER"]),
        (
            Credentials("user", "secret", authorization_identity="boss"),
            ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"],
        ),
    ],
)
def test_the_mechanisms_that_the_credentials_allow_are_ordered_from_strong_to_weak(
    credentials, expected
):
    assert names(sorted(NAMES), credentials) == expected


def test_only_mechanisms_that_the_server_offers_in_any_case_are_chosen():
    assert names(["login", "Plain", "GSSAPI", "PLAIN"], PASSWORD) == ["PLAIN", "LOGIN"]


def test_only_allowed_mechanisms_are_chosen_and_their_order_does_not_matter():
    assert names(NAMES, PASSWORD, ["login", "SCRAM-SHA-1"]) == ["SCRAM-SHA-1", "LOGIN"]


def test_external_is_chosen_only_if_it_is_allowed_by_name():
    with pytest.raises(SMTPNotSupportedError):
        choose(["EXTERNAL"], PASSWORD)
    assert names(["EXTERNAL", "PLAIN"], PASSWORD, ["EXTERNAL"]) == ["EXTERNAL"]
    assert names(["EXTERNAL"], Credentials(), ["EXTERNAL"]) == ["EXTERNAL"]


def test_an_unknown_allowed_mechanism_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ConfigurationError, match="'SCRAM-SHA256': known are EXTERNAL, OAUTH"):
        choose(NAMES, PASSWORD, ["scram-sha256"])


def test_no_cram_md5_in_a_python_without_md5(monkeypatch):
    def digest(key, message, name):
        raise ValueError("unsupported hash type md5")

    monkeypatch.setattr(hmac, "digest", digest)
    assert names(["CRAM-MD5", "PLAIN"], PASSWORD) == ["PLAIN"]


@pytest.mark.parametrize(
    ("offered", "credentials", "allowed", "text"),
    [
        (
            ["XOAUTH2", "GSSAPI"],
            PASSWORD,
            None,
            "The server offers GSSAPI, XOAUTH2; these credentials can be used with "
            "SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5, PLAIN, LOGIN.",
        ),
        (
            ["LOGIN"],
            PASSWORD,
            ["PLAIN", "XOAUTH2"],
            "The server offers LOGIN; of those allowed (PLAIN, XOAUTH2) "
            "these credentials can be used with PLAIN.",
        ),
        (
            [],
            Credentials(),
            None,
            "The server offers none; these credentials can be used with none.",
        ),
        (
            ["\r\nRCPT", "x" * 21, "\x1b[0m"],
            TOKEN,
            None,
            "The server offers none; these credentials can be used with OAUTHBEARER, XOAUTH2.",
        ),
    ],
)
def test_without_a_common_mechanism_the_error_lists_both_sides_without_garbage(
    offered, credentials, allowed, text
):
    with pytest.raises(SMTPNotSupportedError) as caught:
        choose(offered, credentials, allowed)
    assert str(caught.value) == f"No suitable authentication method found. {text}"


def test_a_server_with_a_thousand_names_does_not_fill_the_log():
    with pytest.raises(SMTPNotSupportedError) as caught:
        choose([f"X-{number}" for number in range(1000)], PASSWORD)
    assert len(str(caught.value)) < 400
    assert ", ...;" in str(caught.value)


@given(st.lists(st.text() | st.sampled_from(NAMES)))
def test_any_offer_gives_a_choice_from_it_or_the_documented_error(offered):
    try:
        chosen = names(offered, BOTH)
    except SMTPNotSupportedError:
        return
    assert chosen == [name for name in NAMES if name in chosen]
    assert set(chosen) <= {name.upper() for name in offered}
