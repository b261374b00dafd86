"""Bytes to replies, in any pieces, and with any fault."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends.errors import SMTPProtocolError
from mailbackends.protocol.reply_parser import MAX_LINE, MAX_REPLY, ReplyParser
from mailbackends.reply import Reply

REPLIES = {
    "one line": (b"250 ok\r\n", Reply(250, (b"ok",))),
    "line feed only": (b"250 ok\n", Reply(250, (b"ok",))),
    "no text": (b"250\r\n", Reply(250, (b"",))),
    "no text but a space": (b"250 \r\n", Reply(250, (b"",))),
    "no text after the hyphen": (b"250-\r\n250 ok\r\n", Reply(250, (b"", b"ok"))),
    "several lines": (
        b"250-mail.example.com\r\n250-SIZE 1000\r\n250 HELP\r\n",
        Reply(250, (b"mail.example.com", b"SIZE 1000", b"HELP")),
    ),
    "an empty last line, as smtp-sink's": (
        b"250-smtp-sink\r\n250-8BITMIME\r\n250 \r\n",
        Reply(250, (b"smtp-sink", b"8BITMIME", b"")),
    ),
    "line ends of both kinds": (b"250-a\n250 b\r\n", Reply(250, (b"a", b"b"))),
    "space around the text": (b"250   ok \t\r\n", Reply(250, (b"ok",))),
    "a tab after the code": (b"250\tok\r\n", Reply(250, (b"ok",))),
    "a carriage return within": (b"250 a\rb\r\n", Reply(250, (b"a\rb",))),
    "binary": (b"550 \x00\xff\xfe\r\n", Reply(550, (b"\x00\xff\xfe",))),
    "utf-8": ("550 Grüße\r\n".encode(), Reply(550, ("Grüße".encode(),))),
    "the longest line": (
        b"250 " + b"x" * (MAX_LINE - 6) + b"\r\n",
        Reply(250, (b"x" * (MAX_LINE - 6),)),
    ),
    # A code that is not a number is reported, as in the standard library.
    "no code": (b"hello\r\n", Reply(-1, (b"o",))),
    "an empty line": (b"\r\n", Reply(-1, (b"",))),
    "an empty line with a line feed only": (b"\n", Reply(-1, (b"",))),
    "a code of other digits": ("\u0662\u0665\u0660 ok\r\n".encode(), Reply(-1, (b"\xd9\xa0 ok",))),
    "a code too short": (b"25 ok\r\n", Reply(-1, (b"k",))),
    "a code with a sign": (b"-25 ok\r\n", Reply(-1, (b"ok",))),
    "no code within": (b"250-a\r\nwhat\r\n", Reply(-1, (b"a", b""))),
}
NEXT = (b"354 go\r\n", Reply(354, (b"go",)))

each_reply = pytest.mark.parametrize(("data", "reply"), REPLIES.values(), ids=REPLIES.keys())


@each_reply
def test_a_reply_that_arrives_in_one_piece(data, reply):
    parser = ReplyParser()
    parser.receive_data(data)
    assert parser.next_reply() == reply
    assert parser.next_reply() is None
    assert parser.is_empty


@each_reply
def test_a_reply_that_arrives_byte_by_byte_is_complete_with_its_last_byte(data, reply):
    parser = ReplyParser()
    for number in range(len(data)):
        assert parser.next_reply() is None
        assert parser.is_empty is (number == 0)
        parser.receive_data(data[number : number + 1])
    assert parser.next_reply() == reply
    assert parser.is_empty


@each_reply
def test_a_reply_followed_by_the_next_one(data, reply):
    parser = ReplyParser()
    parser.receive_data(data + NEXT[0])
    assert parser.next_reply() == reply
    assert not parser.is_empty
    assert parser.next_reply() == NEXT[1]
    assert parser.next_reply() is None


@each_reply
def test_a_reply_between_another_one_and_half_of_a_third(data, reply):
    parser = ReplyParser()
    parser.receive_data(NEXT[0] + data + b"250-")
    assert [parser.next_reply() for _ in range(3)] == [NEXT[1], reply, None]
    parser.receive_data(b"x\r\n250 y\r\n")
    assert parser.next_reply() == Reply(250, (b"x", b"y"))


text = st.binary(max_size=40).map(lambda data: data.translate(None, b"\r\n")).map(bytes.strip)


@st.composite
def replies(draw):
    """Replies as a server writes them, and what they are."""
    code = draw(st.integers(200, 599))
    lines = draw(st.lists(text, min_size=1, max_size=5))
    ends = draw(st.lists(st.sampled_from([b"\r\n", b"\n"]), min_size=5, max_size=5))
    last = len(lines) - 1
    data = b"".join(
        b"%d%s%s%s" % (code, b" " if i == last else b"-", line, ends[i])
        for i, line in enumerate(lines)
    )
    return data, Reply(code, tuple(lines))


@given(st.lists(replies(), max_size=5), st.data())
def test_any_chunking_of_the_bytes_gives_the_same_replies(replies, data):
    stream = b"".join(part for part, _ in replies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parser = ReplyParser()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        parser.receive_data(stream[start:end])
        while (reply := parser.next_reply()) is not None:
            found.append(reply)
    assert found == [reply for _, reply in replies]
    assert parser.is_empty


def outcome_of(chunks):
    """The result of parsing these bytes: the replies, and the error."""
    parser = ReplyParser()
    found = []
    try:
        for chunk in chunks:
            parser.receive_data(chunk)
            while (reply := parser.next_reply()) is not None:
                found.append(reply)
    except SMTPProtocolError as error:
        found.append(error.args)
    return found


@given(st.binary(max_size=200), st.data())
def test_any_chunking_of_any_bytes_gives_the_same_replies_or_the_same_error(noise, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(noise)), max_size=8)))
    chunks = [noise[a:b] for a, b in zip([0, *cuts], [*cuts, len(noise)], strict=True)]
    assert outcome_of(chunks) == outcome_of([noise]) == outcome_of([bytes([b]) for b in noise])


# --- hostile servers ------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"x" * (MAX_LINE + 1),
        b"250 " + b"x" * MAX_LINE + b"\r\n",
        b"250 ok\r\n250 " + b"x" * MAX_LINE,
    ],
)
@pytest.mark.parametrize("size", [1, 4096, 1 << 20])
def test_a_line_without_an_end_is_an_error(data, size):
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    assert outcome_of(chunks)[-1] == (500, b"Line too long.")


@pytest.mark.parametrize("line", [b"250-\r\n", b"250-\n", b"250-" + b"x" * 8000 + b"\r\n"])
def test_a_reply_without_an_end_is_an_error_before_it_fills_the_memory(line):
    taken = 0

    def endless():
        nonlocal taken
        while taken < 2 * MAX_REPLY:
            taken += len(line)
            yield line

    assert outcome_of(endless()) == [(500, b"Reply too long.")]
    assert taken <= MAX_REPLY + len(line)


def test_the_limit_applies_to_each_reply_and_not_to_all_together():
    parser = ReplyParser()
    for _ in range(40):
        parser.receive_data(b"250 " + b"x" * 8000 + b"\r\n")
        assert parser.next_reply() is not None


@pytest.mark.parametrize("last", [b"550 b\r\n", b"251 b\r\n", b"354-b\r\n"])
def test_a_code_that_changes_within_a_reply_is_an_error(last):
    parser = ReplyParser()
    parser.receive_data(b"250-a\r\n" + last)
    with pytest.raises(SMTPProtocolError, match="Reply code changed from 250"):
        parser.next_reply()
