"""The EHLO reply: what the server can do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends.protocol.extensions import Extensions, parse
from mailbackends.reply import Reply


def announced(*lines):
    return parse(Reply(250, (b"mail.example.com", *lines)))


def test_keywords_are_known_in_any_case_with_their_parameters():
    extensions = announced(b"pipelining", b"SIZE 1000", b"Deliverby 240", b"X-THING a  b")
    assert dict(extensions.keywords) == {
        "PIPELINING": "",
        "SIZE": "1000",
        "DELIVERBY": "240",
        "X-THING": "a  b",
    }
    assert "size" in extensions
    assert "CHUNKING" not in extensions


def test_the_first_line_contains_no_keyword():
    assert parse(Reply(250, (b"PIPELINING",))).keywords == {}
    assert parse(Reply(250, ())).keywords == {}


@pytest.mark.parametrize(
    "line",
    [b"", b" ", b"-x", b"\xff", b"=SIZE", b"STARTTLS_OFF", b"SIZE: 1000", b"CHUNKING\0", b"\x1bA"],
)
def test_unreadable_lines_are_skipped(line):
    assert dict(announced(line, b"HELP").keywords) == {"HELP": ""}


@pytest.mark.parametrize("line", [b"SIZE 1000", b"SIZE=1000", b"SIZE\t1000", b"size  1000 "])
def test_parameters_follow_a_space_or_what_some_servers_use_instead(line):
    assert announced(line).max_size == 1000


@pytest.mark.parametrize(
    ("lines", "mechanisms"),
    [
        ([], ()),
        ([b"AUTH"], ()),  # Dovecot, after AUTH
        ([b"AUTH PLAIN LOGIN"], ("PLAIN", "LOGIN")),
        ([b"AUTH=PLAIN LOGIN"], ("PLAIN", "LOGIN")),
        ([b"AUTH plain", b"AUTH=LOGIN Plain"], ("PLAIN", "LOGIN")),
        ([b"auth=login", b"auth scram-sha-256"], ("LOGIN", "SCRAM-SHA-256")),
    ],
)
def test_the_mechanisms_of_all_auth_lines_are_joined_in_the_old_style_and_the_new(
    lines, mechanisms
):
    assert announced(*lines).auth_mechanisms == mechanisms


@pytest.mark.parametrize(
    ("parameter", "limit"),
    [
        (b"", None),
        (b"0", None),  # RFC 1870 section 4: no fixed limit
        (b"1", 1),
        (b"35882577", 35_882_577),
        (b"9" * 18, 10**18 - 1),
        (b"9" * 19, None),
        (b"-1", None),
        (b"1e9", None),
        (b"abc", None),
        ("²".encode("latin-1"), None),
    ],
)
def test_the_size_limit_is_a_number_or_none(parameter, limit):
    assert announced(b"SIZE " + parameter).max_size == limit


@pytest.mark.parametrize(
    ("line", "messages", "recipients"),
    [
        (b"LIMITS MAILMAX=5 RCPTMAX=100", 5, 100),
        (b"limits rcptmax=100", None, 100),
        (b"LIMITS RCPTDOMAINMAX=1 MAILMAX=x", None, None),
        (b"LIMITS", None, None),
        (b"LIMITS MAILMAX", None, None),
        (b"HELP", None, None),
    ],
)
def test_announced_limits_are_known(line, messages, recipients):
    extensions = announced(line)
    assert (extensions.max_messages, extensions.max_recipients) == (
        messages,
        recipients,
    )


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_any_lines_can_be_read(lines):
    extensions = parse(Reply(250, tuple(lines)))
    assert all(keyword == keyword.upper() for keyword in extensions.keywords)
    assert extensions.max_size is None or extensions.max_size > 0
    assert all(extensions.auth_mechanisms)


def test_a_server_that_knows_only_helo_has_no_extensions():
    assert Extensions() == Extensions({})
    assert Extensions().max_size is None
