"""Addresses: valid and invalid ones, and none can break out of its command."""

from email import message_from_bytes, policy
from email.header import Header
from email.message import EmailMessage, Message

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailbackends.errors import InvalidAddressError
from mailbackends.mime.address import addresses_in, parse_path, to_ascii
from mailbackends.mime.headers import check_headers, field_that_needs_utf8
from mailbackends.protocol.command import rcpt


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("a@example.com", "a@example.com"),
        ("  a@example.com ", "a@example.com"),
        ("root", "root"),
        ("a+b=c/d!e%f@example.com", "a+b=c/d!e%f@example.com"),
        (".a..b.@example.com", ".a..b.@example.com"),
        ("jörg@bücher.example", "jörg@bücher.example"),
        ('"a b"@example.com', '"a b"@example.com'),
        ('"a\\"b@c>"@example.com', '"a\\"b@c>"@example.com'),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"),
        ("<a@example.com>", "a@example.com"),
        ("< a@example.com >", "a@example.com"),
        ("Ann Example <a@example.com>", "a@example.com"),
        ("Ann<a@example.com>", "a@example.com"),
        ("John Q. Public (Sales) <a@example.com>", "a@example.com"),
        ('"Example, Ann <x@y>" <a@example.com>', "a@example.com"),
        ("=?utf-8?q?J=C3=B6rg?= <a@example.com>", "a@example.com"),
        ("Jörg <a@example.com>", "a@example.com"),
        ("a@example.com (Ann)", "a@example.com"),
    ],
)
def test_the_address_is_found_with_or_without_a_display_name(address, path):
    assert parse_path(address) == path


@pytest.mark.parametrize(
    "address",
    [
        "",
        " ",
        "<>",
        "@",
        "a@",
        "@example.com",
        "a b@example.com",
        "a @ example.com",
        "a@b@example.com",
        "a@example.com,",
        "a@example.com, b@example.com",
        "a@example.com; b@example.com",
        "a@example.com b@example.com",
        "a@example.com <b@example.com>",
        "Example, Ann <a@example.com>",
        "Group: a@example.com;",
        "Ann <a@example.com> x",
        "Ann <a@example.com",
        "a@example.com>",
        "<a@example.com> <b@example.com>",
        "<@relay.example,@other.example:a@example.com>",
        "alice@example.org)bob@example.com",
        "alice(@evil.example)@example.com",
        'Ann" <a@example.com>',
        "a@example.com>NOTIFY=NEVER",
        "a@[1>2]",
        "a@[",
        "a@exa\xa0mple.com",
        "a@exa\u2028mple.com",
        '"\u2028"@example.com',
        '"\ud800"@example.com',
        "\udcff@example.com",
        "a@exa\ufffdmple.com",
        "a@x (b (c))",
    ],
)
def test_text_that_is_not_one_address_is_refused_with_a_suggestion(address):
    with pytest.raises(InvalidAddressError, match="not one address: write it as"):
        parse_path(address)


@pytest.mark.parametrize("character", ["\r", "\n", "\r\n", "\0", "\t", "\x1b", "\x7f"])
@pytest.mark.parametrize(
    "address", ["a{}@example.com", "a@example.com{}DATA", '"a{}b"@x', "A{}B <a@x>"]
)
def test_a_control_character_is_refused_at_every_position(character, address):
    with pytest.raises(InvalidAddressError, match="control character: remove it"):
        parse_path(address.format(character))


@pytest.mark.parametrize("address", [None, b"a@example.com"])
def test_values_that_are_not_text_are_refused(address):
    with pytest.raises(InvalidAddressError, match="must be text"):
        parse_path(address)


def test_a_lazy_string_is_an_address():
    class Lazy:
        def __str__(self):
            return "a@example.com"

    assert parse_path(Lazy()) == "a@example.com"


def test_an_address_may_fill_a_command_line_and_no_more():
    longest = "a" * 486 + "@example.com"
    assert parse_path(longest) == longest
    for address in ("a" + longest, "ä" * 250 + "@example.com", "a" * 100_000):
        with pytest.raises(InvalidAddressError, match="long"):
            parse_path(address)


def test_the_error_names_the_role_of_the_address():
    with pytest.raises(InvalidAddressError, match="the sender address"):
        parse_path("a@", of="sender")


# Pieces of attacks.
piece = st.sampled_from(
    [
        *'<>()[]{}"\\@,;: .\t\r\n\0',
        "a",
        "b.c",
        "\r\nDATA",
        "NOTIFY=NEVER",
        "\u2028",
        "\uff1e",
        "\ud800",
    ]
)


@given(st.lists(piece, max_size=12).map("".join) | st.text(max_size=30))
@example('"a> NOTIFY=NEVER"@x')
def test_no_path_breaks_out_of_its_command(text):
    try:
        path = to_ascii(parse_path(text))
    except InvalidAddressError:
        return
    line = rcpt(path).line.decode()
    assert (line[:9], line[-3:]) == ("RCPT TO:<", ">\r\n")
    # As RFC 5321 section 4.1.2 reads it: outside a quoted string nothing may end the path.
    is_quoted = is_escaped = False
    for character in line[9:-3]:
        assert character not in "\r\n\0"
        if is_quoted:
            is_quoted = is_escaped or character != '"'
            is_escaped = not is_escaped and character == "\\"
        else:
            assert character not in "<> "
            is_quoted = character == '"'
    assert not is_quoted


@given(st.lists(piece, max_size=12).map("".join))
def test_parsing_a_path_again_changes_nothing(text):
    try:
        path = parse_path(text)
    except InvalidAddressError:
        return
    assert parse_path(path) == path
    assert parse_path(f"Somebody <{path}>") == path


# --- header fields --------------------------------------------------------------------

MESSAGES = [EmailMessage, Message]


def in_field(kind, text):
    message = kind()
    message["To"] = text
    return addresses_in("To", message["To"])


@pytest.mark.parametrize("kind", MESSAGES)
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("a@x.example", ["a@x.example"]),
        ('"Doe, John" <a@x.example>, b@x.example', ["a@x.example", "b@x.example"]),
        ("undisclosed-recipients:;", []),
        ("team: a@x.example, b@x.example;", ["a@x.example", "b@x.example"]),
        ("a@x.example, , b@x.example", ["a@x.example", "b@x.example"]),
        ("a@x.example,", ["a@x.example"]),
        ("John Q. Public <a@x.example>", ["a@x.example"]),
        ("a.@x.example", ["a.@x.example"]),
        ("root", ["root"]),
        ("The Boss <root>, postmaster", ["root", "postmaster"]),
        ("Jörg <a@bücher.example>", ["a@bücher.example"]),
        ("jörg@bücher.example", ["jörg@bücher.example"]),
        # An encoded word is a name, and never an address.
        ("=?utf-8?q?x=2C_evil=40x=2Eexample=2C?= <a@x.example>", ["a@x.example"]),
    ],
)
def test_the_addresses_in_a_field(kind, text, found):
    assert in_field(kind, text) == found


@pytest.mark.parametrize("kind", MESSAGES)
@pytest.mark.parametrize(
    "text",
    [
        "<>",
        "a@x.example b@x.example",
        "a@x.example <b@x.example>",
        "a@x.example; b@x.example",
        "alice@x.example)bob@x.example",
        "John Doe",
        "John Doe, a@x.example",
    ],
)
def test_a_field_that_can_only_be_read_partly_is_refused(kind, text):
    with pytest.raises(InvalidAddressError, match="the To field") as caught:
        in_field(kind, text)
    assert text in str(caught.value)


@pytest.mark.parametrize("text", ["=?utf-8?q?evil=40y=2Eexample?=@x.example", "a b c@x.example"])
def test_encoded_words_and_loose_words_do_not_become_addresses(text):
    with pytest.raises(InvalidAddressError):
        in_field(EmailMessage, text)


def parsed(address, rules):
    message = message_from_bytes(f"To: {address}\r\n\r\n".encode(), policy=rules)
    return [parse_path(path) for path in addresses_in("To", message["To"])]


def test_the_utf8_of_a_parsed_message_is_read():
    assert parsed("jörg@bücher.example", policy.default) == ["jörg@bücher.example"]


def test_bytes_that_the_legacy_policy_has_lost_are_refused():
    with pytest.raises(InvalidAddressError):
        parsed("jörg@x.example", policy.compat32)


def test_bytes_that_are_not_utf8_are_refused():
    message = message_from_bytes(b"To: j\xf6rg@x.example\r\n\r\n", policy=policy.default)
    with pytest.raises(InvalidAddressError):
        parse_path(addresses_in("To", message["To"])[0])


def test_a_legacy_header_object_is_read():
    assert addresses_in("To", Header("a@x.example, b@x.example")) == ["a@x.example", "b@x.example"]


# --- invisible characters -------------------------------------------------------------------

INVISIBLE = ["\u200b", "\ufeff", "\u200f", "\xad", "\u2060", "\u202e", "\u2009", "\u3000", "\xa0",
             "\u180e", "\u2800", "\u3164", "\ufe0f", "\U000e0041", "\u2028"]  # fmt: skip


@pytest.mark.parametrize("character", INVISIBLE)
@pytest.mark.parametrize(
    "address", ["{}b@example.com", "b@example.com{}", "b{}c@example.com", "Bo <b@{}example.com>"]
)
def test_an_invisible_character_in_an_address_is_refused_by_its_name(address, character):
    with pytest.raises(InvalidAddressError) as caught:
        parse_path(address.format(character))
    assert f"the invisible character U+{ord(character):04X} (" in str(caught.value)
    assert "remove it" in str(caught.value)


def test_display_names_may_contain_invisible_characters():
    assert parse_path("👩\u200d💻\ufe0f <a@example.com>") == "a@example.com"


def test_the_joiners_of_a_script_are_part_of_an_address():
    address = "\u0646\u0627\u0645\u0647\u200c\u0627\u06cc@example.com"
    assert parse_path(address) == address
    for address in ("a\u200cb@example.com", "\u200cb@example.com", "b\u200d@example.com"):
        with pytest.raises(InvalidAddressError, match="ZERO WIDTH"):
            parse_path(address)


@pytest.mark.parametrize("kind", MESSAGES)
@pytest.mark.parametrize("field", ["Reply-To", "From", "Disposition-Notification-To"])
def test_an_invisible_character_in_a_header_field_is_refused(kind, field):
    message = kind()
    message[field] = "Bo <b\u200b@example.com>"
    with pytest.raises(InvalidAddressError, match=rf"{field} address .* U\+200B"):
        check_headers(message)
    message.replace_header(field, "b\ufe0f@example.com")
    with pytest.raises(InvalidAddressError, match=rf"{field} address .* U\+FE0F"):
        field_that_needs_utf8(message)
