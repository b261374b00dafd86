"""The parameters of MAIL and RCPT: checked against their RFCs before a byte is sent.

Everything that the caller gives in ``mail_options`` and ``rcpt_options`` is checked here. An
unknown keyword passes if a command line can contain it: new extensions need no new version of
this library.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mailbackends.errors import InvalidMessageError, Outcome, SMTPNotSupportedError
from mailbackends.protocol.extensions import Extensions

__all__ = [
    "check_supported",
    "checked_parameters",
    "encode_utf8_address",
    "encode_xtext",
    "keyword_of",
]

Verb = Literal["MAIL", "RCPT"]

# RFC 5321 section 4.1.2: esmtp-param.
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?")

# RFC 3461 section 4; what is encoded in ENVID must be printable (section 4.4).
_XTEXT = r"(?-i:[!-*,-<>-~]|\+[0-9A-F]{2})"
_PRINTABLE_XTEXT = r"(?-i:[!-*,-<>-~]|\+(?:[2-6][0-9A-F]|7[0-9A-E]))"
_PLAIN = re.compile(r"[!-*,-<>-~]")
_DSN_EVENT = "(?:SUCCESS|FAILURE|DELAY)"


@dataclass(frozen=True, slots=True)
class _Rule:
    verb: Verb
    extension: str
    value: re.Pattern[str] | None
    """None if the keyword has no value."""
    form: str


def _rule(verb: Verb, extension: str, value: str | None, form: str) -> _Rule:
    return _Rule(verb, extension, re.compile(value, re.I) if value is not None else None, form)


_RULES = {
    # RFC 1870 section 6
    "SIZE": _rule("MAIL", "SIZE", r"\d{1,20}", "SIZE=<bytes>"),
    # RFC 6152 section 2
    "BODY": _rule("MAIL", "8BITMIME", "7BIT|8BITMIME", "BODY=7BIT or BODY=8BITMIME"),
    # RFC 6531 section 3.4
    "SMTPUTF8": _rule("MAIL", "SMTPUTF8", None, "SMTPUTF8"),
    # RFC 4954 section 5
    "AUTH": _rule("MAIL", "AUTH", f"<>|{_XTEXT}{{1,500}}", "AUTH=<> or AUTH=<address as xtext>"),
    # RFC 3461 sections 4.1 to 4.4
    "RET": _rule("MAIL", "DSN", "FULL|HDRS", "RET=FULL or RET=HDRS"),
    "ENVID": _rule(
        "MAIL", "DSN", _PRINTABLE_XTEXT + "{1,100}", "ENVID=<xtext of at most 100 characters>"
    ),
    "NOTIFY": _rule(
        "RCPT",
        "DSN",
        f"NEVER|{_DSN_EVENT}(?:,{_DSN_EVENT}){{0,2}}",
        "NOTIFY=NEVER, or SUCCESS, FAILURE and DELAY with commas between them",
    ),
    "ORCPT": _rule(
        "RCPT", "DSN", rf"[A-Z0-9-]+;{_XTEXT}{{1,500}}", "ORCPT=rfc822;<address as xtext>"
    ),
    # RFC 8689 section 4
    "REQUIRETLS": _rule("MAIL", "REQUIRETLS", None, "REQUIRETLS"),
    # RFC 2852 section 4
    "BY": _rule("MAIL", "DELIVERBY", r"[+-]?\d{1,9};[NR]T?", "BY=<seconds>;N or BY=<seconds>;R"),
    # RFC 6710 section 4
    "MT-PRIORITY": _rule("MAIL", "MT-PRIORITY", "-?[1-9]|0", "MT-PRIORITY=<-9 to 9>"),
    # RFC 4865 section 5
    "HOLDFOR": _rule("MAIL", "FUTURERELEASE", r"[1-9]\d{0,8}", "HOLDFOR=<seconds>"),
    "HOLDUNTIL": _rule(
        "MAIL",
        "FUTURERELEASE",
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z",
        "HOLDUNTIL=<YYYY-MM-DDThh:mm:ssZ>",
    ),
}  # fmt: skip


def keyword_of(parameter: str) -> str:
    """The keyword of a parameter, in upper case."""
    return parameter.partition("=")[0].upper()


def checked_parameters(verb: Verb, given: Iterable[str]) -> tuple[str, ...]:
    """The parameters for MAIL or RCPT as given; a string is split into its words.

    Raises:
        InvalidMessageError: names the parameter and the form it should have.
    """
    parameters = (
        tuple(word for word in given.split(" ") if word)
        if isinstance(given, str)
        else (tuple(given))
    )
    keywords: set[str] = set()
    for parameter in parameters:
        keyword = _check(verb, parameter)
        if keyword in keywords:
            # RFC 5321 section 4.1.1.11
            raise InvalidMessageError(f"{keyword} is given more than once to {verb}: give it once")
        keywords.add(keyword)
    if {"HOLDFOR", "HOLDUNTIL"} <= keywords:
        raise InvalidMessageError("HOLDFOR and HOLDUNTIL contradict each other: give one of them")
    return parameters


def _check(verb: Verb, parameter: str) -> str:
    found = _PARAMETER.fullmatch(parameter) if isinstance(parameter, str) else None
    if found is None:
        raise InvalidMessageError(
            f"{parameter!r} is not a parameter of {verb}: write KEYWORD or KEYWORD=value, "
            "without spaces (RFC 5321 section 4.1.2)"
        )
    keyword, value = found[1].upper(), found[2]
    rule = _RULES.get(keyword)
    if rule is None:
        return keyword
    if rule.verb != verb:
        options = f"{rule.verb.lower()}_options"
        raise InvalidMessageError(f"{parameter!r} belongs to {rule.verb}: give it in {options}")
    if keyword == "BODY" and value and value.upper() == "BINARYMIME":
        raise InvalidMessageError(
            "BODY=BINARYMIME is not supported: content is sent as lines; encode it "
            "(Content-Transfer-Encoding: base64) and leave BODY out"
        )
    if rule.value is None:
        is_valid = value is None
    else:
        is_valid = value is not None and rule.value.fullmatch(value) is not None
    if not is_valid or not _makes_sense(keyword, value):
        raise InvalidMessageError(f"{parameter!r} is not valid: write {rule.form}")
    return keyword


def _makes_sense(keyword: str, value: str) -> bool:
    """The rules that a regular expression cannot express."""
    if keyword == "NOTIFY":
        events = value.upper().split(",")
        return len(set(events)) == len(events)
    if keyword == "BY":
        seconds, _, mode = value.upper().partition(";")
        # RFC 2852 section 4: with mode R, the time must be in the future.
        return not mode.startswith("R") or int(seconds) > 0
    return keyword != "HOLDUNTIL" or _date(value) is not None


def check_supported(
    parameters: Iterable[str], extensions: Extensions, *, is_tls: bool = False
) -> None:
    """Check that this server supports the parameters: the message is not sent without them.

    Raises:
        SMTPNotSupportedError: names the parameter and what the server lacks.
    """
    for parameter in parameters:
        keyword, _, value = parameter.partition("=")
        rule = _RULES.get(keyword.upper())
        if rule is None:
            continue
        reason = _lacking(keyword.upper(), value, rule, extensions, is_tls=is_tls)
        if reason:
            what, _, fix = reason.partition(": ")
            error = SMTPNotSupportedError(f"{parameter} cannot be used: {what}")
            error.outcome = Outcome.NOT_SENT
            raise error.suggesting(fix) if fix else error


def _lacking(
    keyword: str, value: str, rule: _Rule, extensions: Extensions, *, is_tls: bool
) -> str | None:
    if keyword == "REQUIRETLS" and not is_tls:
        # RFC 8689 section 4.2.1: the first hop must be encrypted, too.
        return "this connection has no TLS: {use_any_tls}"
    if rule.extension not in extensions:
        return f"the server does not announce {rule.extension}: leave it out, or use another server"
    first, _, second = extensions.keywords[rule.extension].strip().partition(" ")
    if keyword == "BY" and _number(first) is not None:
        # RFC 2852 section 4: the shortest time after which this server returns a message.
        seconds, _, mode = value.upper().partition(";")
        if mode.startswith("R") and int(seconds) < int(first):
            return f"the server's minimum is {first} seconds"
    if keyword == "HOLDFOR" and _number(first) is not None and int(value) > int(first):
        return f"the server holds messages for at most {first} seconds"
    if keyword == "HOLDUNTIL":
        wanted, latest = _date(value), _date(second.strip())
        if wanted is not None and latest is not None and wanted > latest:
            return f"the server holds messages until {second.strip()} at the latest"
    return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def _date(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def encode_xtext(text: str) -> str:
    """The ASCII text as the value of a parameter (RFC 3461 section 4).

    Spaces, ``+``, ``=`` and control characters are written as ``+`` and two hex digits.

    Raises:
        InvalidMessageError: a character is not ASCII: xtext has no form for it.
    """
    if not text.isascii():
        raise InvalidMessageError(f"a parameter's value must be ASCII, got {text!r}")
    return "".join(c if _PLAIN.fullmatch(c) else f"+{ord(c):02X}" for c in text)


def encode_utf8_address(address: str) -> str:
    r"""An address of type ``utf-8`` in the form that any server takes (RFC 6533 section 3).

    Each character that is not plain ASCII is written as ``\x{...}``.
    """
    return "".join(
        c if _PLAIN.fullmatch(c) and c != "\\" else f"\\x{{{ord(c):02X}}}" for c in address
    )
