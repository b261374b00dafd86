"""No secret is shown in commands, or in replies that quote them."""

import base64

import pytest

from mailbackends.protocol.masking import Masking, masked_line, secrets_in
from mailbackends.reply import Reply


def encoded(text):
    return base64.b64encode(text.encode()).decode()


PLAIN = encoded("\0alice\0correct horse")


def masking(*responses):
    made = Masking()
    made.exempt("alice", None)
    for response in responses:
        made.remember(response)
    return made


@pytest.mark.parametrize(
    ("line", "shown", "secrets"),
    [
        (f"AUTH PLAIN {PLAIN}", "AUTH PLAIN ***", [PLAIN]),
        ("auth login dXNlcg== trailing", "auth login ***", ["dXNlcg== trailing"]),
        (f"NOOP\r\nAUTH PLAIN {PLAIN}\r\n", "NOOP\r\nAUTH PLAIN ***\r\n", [PLAIN]),
        ("AUTH LOGIN", "AUTH LOGIN", []),
        ("MAIL FROM:<auth@example.com>", "MAIL FROM:<auth@example.com>", []),
    ],
)
def test_only_the_argument_after_the_mechanism_of_auth_is_masked(line, shown, secrets):
    assert masked_line(line) == shown
    assert secrets_in(line) == secrets


def test_a_response_to_a_challenge_is_masked_as_a_whole():
    assert masked_line("c2VjcmV0\r\n", is_response=True) == "***\r\n"
    assert secrets_in("c2VjcmV0", is_response=True) == ["c2VjcmV0"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"5.5.4 Cannot decode AUTH parameter: {PLAIN}", "5.5.4 Cannot decode AUTH parameter: ***"),
        (f"unknown command '{PLAIN[:20]}...'", "unknown command '***...'"),
        (f"UNKNOWN COMMAND {PLAIN.upper()}", "UNKNOWN COMMAND ***"),
        (f"unknown command ...{PLAIN[-12:]}", "unknown command ...***"),
        ("bad response \0alice\0correct horse", "bad response ***"),
        ("no user alice with password correct horse", "no user alice with password ***"),
        ("correct horse", "***"),
        ("the correct horses", "the ***s"),
        ("2.7.0 nothing of it is here", "2.7.0 nothing of it is here"),
        ("", ""),
    ],
)
def test_what_a_server_quotes_is_masked_in_base64_and_decoded(text, shown):
    assert masking(PLAIN).mask(text.encode()) == shown.encode()


@pytest.mark.parametrize(
    ("password", "text", "shown"),
    [
        ("abc", "user abc not found", "user *** not found"),
        ("abc", "abcdef is not abc", "abcdef is not ***"),
        ("ok", "smoky: token", "smoky: token"),
        ("paß", "535 paß?", "535 ***?"),
    ],
)
def test_a_short_password_is_masked_as_a_whole_word_only(password, text, shown):
    assert masking(encoded(password)).mask(text.encode()) == shown.encode()


PASSPHRASE = "the horse battery is a staple grün\xa0wald"


@pytest.mark.parametrize("response", [f"\0alice\0{PASSPHRASE}", PASSPHRASE], ids=["PLAIN", "LOGIN"])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("501 Syntax error: horse", "501 Syntax error: ***"),
        ('501 unknown parameter "BATTERY"', '501 unknown parameter "***"'),
        ("501 wald?", "501 ***?"),
        ("501 grün?", "501 ***?"),
        ("501 too many words after the horse", "501 too many words after ***"),
        ("501 unexpected: is a", "501 unexpected: ***"),
        (f"501 {PASSPHRASE}", "501 ***"),
        ("501 horses, batteries", "501 horses, batteries"),
        ("450 the server of alice is a little late", "450 the server of alice *** little late"),
        ("450 the mailbox is full", "450 the mailbox is full"),
    ],
)
def test_each_word_of_a_password_with_spaces_is_masked(response, text, shown):
    assert masking(encoded(response)).mask(text.encode()) == shown.encode()


@pytest.mark.parametrize("length", [3, 4])
def test_only_words_of_four_characters_are_masked_by_themselves(length):
    word = "xyzw"[:length]
    masked = masking(encoded(f"{word} 12")).mask(f"bad word: {word}".encode())
    assert (masked == b"bad word: ***") is (length >= 4)


def test_the_words_of_a_user_name_are_shown():
    made = Masking()
    made.exempt("Ada Lovelace")
    made.remember(encoded("Ada Lovelace 9fa3c4d8e1"))  # CRAM-MD5
    assert made.mask(b"no user Lovelace, Ada: 9fa3c4d8e1") == b"no user Lovelace, Ada: ***"


@pytest.mark.parametrize(
    "response",
    [
        encoded("user=alice\1auth=Bearer ya29.token-0123\1\1"),
        encoded("n,a=alice,\1auth=Bearer ya29.token-0123\1\1"),
    ],
)
def test_an_oauth_token_is_masked(response):
    assert masking(response).mask(b"bad token YA29.token-0123 for alice") == (
        b"bad token *** for alice"
    )


def test_the_user_name_of_login_is_not_masked():
    made = masking(encoded("alice"), encoded("a password"))
    assert made.mask(b"alice: " + encoded("alice").encode()) == b"alice: YWxpY2U="
    assert made.mask(b"alice: a password") == b"alice: ***"
    assert made.mask(b"once more: a password") == b"once more: ***"


def test_a_response_that_is_not_base64_is_masked_as_it_is():
    assert masking("not base64 at all!").mask(b"500 NOT BASE64 AT ALL!") == b"500 ***"


def test_each_line_of_a_reply_is_masked_and_its_code_stays():
    reply = Reply(501, (b"cannot decode", PLAIN.encode(), b"sorry"))
    assert masking(PLAIN).masked(reply) == Reply(501, (b"cannot decode", b"***", b"sorry"))


def test_a_reply_that_quotes_nothing_is_returned_as_it_is():
    reply = Reply(250, (b"2.0.0 Ok: queued as 12345",))
    assert masking(PLAIN).masked(reply) is reply
    assert Masking().masked(reply) is reply
    assert Masking().mask(b"any text") == b"any text"


def test_nothing_of_a_masking_is_in_its_repr():
    assert "correct" not in repr(masking(PLAIN))


# Parts of secrets

TOKEN = "ya29.A0ARrdaM-x9_" + "k3Jq7Zr" * 60


@pytest.mark.parametrize(
    ("response", "quoted"),
    [(PLAIN, PLAIN), (encoded("Tr0ub4dor&3-staple"), "Tr0ub4dor&3-staple"),
     (encoded(f"user=alice\1auth=Bearer {TOKEN}\1\1"), TOKEN[:40])],
)  # fmt: skip
@pytest.mark.parametrize("form", ["bad: {}", "bad: <{}>", "{}", "bad: {}... (cut)", "x={};"])
def test_any_part_of_a_secret_of_eight_characters_or_more_is_masked(response, quoted, form):
    made = masking(response)
    for start in range(len(quoted) - 8):
        for end in range(start + 8, min(len(quoted), start + 15)):
            text = form.format(quoted[start:end]).encode()
            assert made.mask(text) == form.format("***").encode()


@pytest.mark.parametrize("size", [3, 5, 8, 12])
@pytest.mark.parametrize("status", [b"", b"5.7.8 "])
def test_a_secret_that_is_split_over_the_lines_of_a_reply_is_masked(size, status):
    pieces = [PLAIN[at : at + size].encode() for at in range(0, len(PLAIN), size)]
    reply = Reply(535, tuple(status + piece for piece in (b"cannot decode: ", *pieces, b" sorry")))
    shown = masking(PLAIN).masked(reply)
    assert shown.code == 535
    assert shown.lines == tuple(
        status + line for line in (b"cannot decode: ", *[b"***"] * len(pieces), b" sorry")
    )


def test_a_part_of_a_password_that_the_user_name_has_too_is_not_masked():
    made = Masking()
    made.exempt("shop@example.com")
    made.remember(encoded("\0shop@example.com\0Example.com-S3cret-42"))
    assert made.mask(b"no relaying for example.com") == b"no relaying for example.com"
    assert made.mask(b"shop@example.com: m-S3cret-42") == b"shop@example.com: ***"


def test_words_of_usual_replies_are_not_parts_of_a_secret():
    made = masking(PLAIN, encoded("alice d41d8cd98f00b204e9800998ecf8427e"))
    for line in (
        b"2.0.0 Ok: queued as 4XyZ3K1k9bz3Qv", b"2.1.5 Recipient <a@example.com> Ok",
        b"5.7.8 Error: authentication failed: UGFzc3dvcmQ6", b"2.7.0 Authentication successful",
    ):  # fmt: skip
        assert made.mask(line) == line
