"""Commands to lines: one line each, whatever is put into them."""

import itertools
import sys
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailbackends.protocol.command as commands
from mailbackends.protocol.command import Command, bdat, mail, rcpt


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (Command("DATA"), b"DATA\r\n"),
        (Command("EHLO", "client.example.com"), b"EHLO client.example.com\r\n"),
        (Command("", "AGE="), b"AGE=\r\n"),
        (Command("", ""), b"\r\n"),
        (Command("EHLO", "bücher.example"), "EHLO bücher.example\r\n".encode()),
        (mail("me@x"), b"MAIL FROM:<me@x>\r\n"),
        (mail(""), b"MAIL FROM:<>\r\n"),
        (mail("me@x", ("SIZE=3", "SMTPUTF8")), b"MAIL FROM:<me@x> SIZE=3 SMTPUTF8\r\n"),
        (rcpt("a@x"), b"RCPT TO:<a@x>\r\n"),
        (rcpt("a@x", ("NOTIFY=NEVER",)), b"RCPT TO:<a@x> NOTIFY=NEVER\r\n"),
        (bdat(7, last=True), b"BDAT 7 LAST\r\n"),
        (bdat(7, last=False), b"BDAT 7\r\n"),
    ],
)
def test_a_command_becomes_a_line(command, line):
    assert command.line == line


@given(st.text(max_size=20), st.text(max_size=40))
def test_a_command_is_one_line_or_an_error(verb, argument):
    try:
        line = Command(verb, argument).line
    except ValueError:
        return
    assert line.endswith(b"\r\n")
    assert not any(byte in line[:-2] for byte in b"\r\n\0")
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("character", [*map(chr, range(0x20)), "\x7f", "\udcff"])
@pytest.mark.parametrize(
    "make", [mail, rcpt, lambda text: Command(text), lambda t: mail("a", (t,))]
)
def test_a_control_character_or_half_a_character_is_refused(character, make):
    with pytest.raises(ValueError, match="control characters"):
        make(f"a{character}DATA")


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (Command("AUTH", "PLAIN AHVzZXIAc2VjcmV0", is_secret=True), "AUTH PLAIN ***"),
        (Command("AUTH", "CRAM-MD5", is_secret=True), "AUTH CRAM-MD5"),
        (Command("", "c2VjcmV0", is_secret=True), "***"),
        (Command("", "", is_secret=True), "***"),
        (Command("RCPT", "TO:<a@x>"), "RCPT TO:<a@x>"),
        (Command("", "*"), "*"),
    ],
)
def test_of_a_secret_command_only_the_mechanism_is_shown(command, shown):
    assert (str(command), repr(command)) == (shown, f"<Command {shown}>")


def test_a_secret_with_a_control_character_is_not_shown_in_the_error():
    with pytest.raises(ValueError, match="hidden") as caught:
        Command("AUTH", "PLAIN hunter2\n", is_secret=True)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "RSET", "BDAT"])
def test_what_may_be_followed_in_a_group(verb):
    assert not Command(verb).ends_group


@pytest.mark.parametrize("verb", ["EHLO", "DATA", "VRFY", "EXPN", "QUIT", "NOOP", "AUTH", ""])
def test_what_ends_a_group(verb):
    assert Command(verb).ends_group


def interrupted_at(number, act):
    """The frames of this module's code after an interrupt at its line of this number."""
    lines = 0

    def trace(frame, event, argument):
        nonlocal lines
        if frame.f_code.co_filename != commands.__file__:
            return None
        lines += event == "line"
        if lines == number:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt as error:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        return [frame for frame in frames if frame.f_code.co_filename == commands.__file__]
    finally:
        sys.settrace(before)
    return []


@pytest.mark.parametrize("argument", ["PLAIN c2VjcmV0", "PLAIN c2VjcmV0 \u00fc"])
def test_an_interrupt_during_the_check_of_a_command_shows_no_secret(argument):
    lines = itertools.count(1)
    seen = 0
    while frames := interrupted_at(next(lines), lambda: Command("AUTH", argument, is_secret=True)):
        seen += 1
        for frame in frames:
            assert "c2VjcmV0" not in repr(frame.f_locals), frame.f_code.co_name
    assert seen
