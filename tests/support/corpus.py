"""Cases of the corpus: messages in files, a way to send each by every interface, and a reader.

The reader is not that of `email.headerregistry`, with which messages are made: it unfolds
fields, takes addresses apart by the rules of `email.utils`, and decodes encoded words last.
"""

from __future__ import annotations

import contextlib
import email.policy
import email.utils
import os
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage, Message
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mailbackends
from mailbackends import FileAttachment, Mailer
from support.face import Received
from support.sink import EXTENSIONS, Sink

__all__ = ["INTERFACES", "Case", "cases", "check", "send"]

ADDRESS_FIELDS = {"from": "From", "to": "To", "cc": "Cc", "bcc": "Bcc", "reply_to": "Reply-To"}
_LENIENT = {"strict": False} if getattr(email.utils, "supports_strict_parsing", False) else {}


@dataclass(frozen=True)
class Case:
    """One file of the corpus. README.md in its folder describes the format."""

    name: str
    source: str
    given: dict[str, Any]
    expected: dict[str, Any]
    interfaces: tuple[str, ...]
    exceptions: dict[str, Any] = field(default_factory=dict)

    def for_interface(self, interface: str) -> dict[str, Any]:
        """The expected result for this interface; ``skip`` is the reason not to try it."""
        return {**self.expected, **self.exceptions.get(interface, {})}


def cases(folder: Path, interfaces: tuple[str, ...]) -> list[Case]:
    """The cases in a folder, by their names. ``interfaces`` are for those that name none."""
    found: list[Case] = []
    for path in sorted(folder.glob("*.toml")):
        with path.open("rb") as file:
            content = tomllib.load(file)
        named = tuple(content.pop("interfaces", interfaces))
        found.append(Case(path.stem, **content, interfaces=named))
    return found


class Lazy:
    """A string that is created when it is used, like Flask-Babel's."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._text, name)

    def __getitem__(self, index: Any) -> str:
        return self._text[index]

    def __len__(self) -> int:
        return len(self._text)

    def __contains__(self, text: str) -> bool:
        return text in self._text


def _evaluated(given: dict[str, Any], make: Callable[[str], Any]) -> dict[str, Any]:
    """The case with lazy strings, if it wants them: the subject, header values and the body."""
    if not given.get("lazy"):
        return given
    lazy: dict[str, Any] = {n: make(given[n]) for n in ("subject", "body") if n in given}
    headers = {name: make(value) for name, value in given.get("headers", {}).items()}
    return {**given, **lazy, "headers": headers}


# --- Sending -------------------------------------------------------------------------------


def send(case: Case, interface: str, folder: Path) -> Received | Exception:
    """What a server received, or the exception. ``folder`` is for the case's files."""
    extensions = case.given.get("extensions", list(EXTENSIONS))
    with Sink(extensions=extensions) as server:
        try:
            INTERFACES[interface](case.given, server, folder)
        except Exception as error:
            assert server.messages == [], "an error was raised, and the message was sent"
            return error
        [received] = server.messages
        return received


def _file_in(folder: Path, attachment: dict[str, Any]) -> Path:
    path = folder / str(attachment["name"])
    data = attachment["content"].encode(attachment.get("charset", "utf-8"))
    path.write_bytes(data)
    return path


def _entries(given: dict[str, Any], key: str) -> list[Any]:
    if key == "from":
        return [given[key]] if key in given else []
    return list(given.get(key, []))


def _address_of(entry: list[str]) -> Address:
    local, _, domain = entry[1].rpartition("@")
    return Address(entry[0], local, domain)


def _text_of(entry: Any) -> str:
    """An address as text; of a pair, the name is quoted."""
    if isinstance(entry, str):
        return entry
    name = entry[0].replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}" <{entry[1]}>'


def _content(given: dict[str, Any]) -> bytes:
    """Finished content; lines end with LF in the file."""
    return str(given["content"]).replace("\n", "\r\n").encode()


def _as_object(given: dict[str, Any], folder: Path) -> Message:
    if "content" in given:
        rules = getattr(email.policy, given.get("policy", "default"))
        return message_from_bytes(_content(given), policy=rules)
    policy = getattr(email.policy, given.get("policy", "default"))
    message = EmailMessage(policy=policy) if policy is not email.policy.compat32 else None
    if message is None:
        legacy = Message(policy=policy)
        _set_fields(legacy, given)
        legacy["Content-Type"] = 'text/plain; charset="utf-8"'
        legacy.set_payload(given.get("body", "text\n"), "utf-8")
        return legacy
    _set_fields(message, given)
    message.set_content(given.get("body", "text\n"))
    if "html" in given:
        message.add_alternative(given["html"], subtype="html")
    for attachment in given.get("attachments", ()):
        if not message.is_multipart():
            message.make_mixed()
        part: Any = FileAttachment(_file_in(folder, attachment))
        message.attach(part)
    return message


def _set_fields(message: Any, given: dict[str, Any]) -> None:
    given = _evaluated(given, Lazy)
    for key, name in ADDRESS_FIELDS.items():
        entries = _entries(given, key)
        if entries and all(isinstance(entry, list) for entry in entries):
            message[name] = tuple(map(_address_of, entries))
        elif entries:
            message[name] = ", ".join(map(_text_of, entries))
    message["Subject"] = given.get("subject", "a subject")
    for name, value in given.get("headers", {}).items():
        message[name] = value


def _envelope(given: dict[str, Any]) -> dict[str, Any]:
    envelope = given.get("envelope", {})
    return {f"{name}_addr" if name == "from" else f"{name}_addrs": envelope[name]
            for name in ("from", "to") if name in envelope}  # fmt: skip


def _by_mailer(given: dict[str, Any], server: Sink, folder: Path) -> None:
    with Mailer(f"smtp://{server.host}:{server.port}") as mailer:
        mailer.send_message(_as_object(given, folder), **_envelope(given))


def _by_smtp(given: dict[str, Any], server: Sink, folder: Path) -> None:
    with mailbackends.SMTP(server.host, server.port, "client.example") as client:
        client.send_message(_as_object(given, folder), **_envelope(given))


def _by_django(given: dict[str, Any], server: Sink, folder: Path) -> None:
    from django.conf import settings

    if not settings.configured:
        settings.configure(SECRET_KEY="corpus", INSTALLED_APPS=["django_integration"])
        __import__("django").setup()
    from django.core.mail import EmailMultiAlternatives
    from django.utils.functional import SimpleLazyObject

    from django_integration import EmailBackend, RawEmailMessage, attach_path

    given = _evaluated(given, lambda text: SimpleLazyObject(lambda: text))
    texts: dict[str, Any] = {
        key: [_text_of(entry) for entry in given.get(key, [])]
        for key in ("to", "cc", "bcc", "reply_to")
    }
    message: Any
    if "content" in given:
        envelope = given["envelope"]
        message = RawEmailMessage(_content(given), envelope["from"], envelope["to"])
    else:
        message = EmailMultiAlternatives(
            given.get("subject", "a subject"),
            given.get("body", "text\n"),
            _text_of(given["from"]),
            headers=given.get("headers"),
            **texts,
        )
        if "html" in given:
            message.attach_alternative(given["html"], "text/html")
        for attachment in given.get("attachments", ()):
            attach_path(message, _file_in(folder, attachment))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Django 6.1 needs its own factory of backends
        backend = EmailBackend(
            host=server.host,
            port=server.port,
            **{name: given[name] for name in ("allowed_recipients",) if name in given},
        )
    backend.open()
    try:
        backend.send_messages([message])
    finally:
        backend.close()


def _by_flask(given: dict[str, Any], server: Sink, folder: Path) -> None:
    from flask import Flask

    import flask_integration

    app = Flask("corpus", root_path=os.fspath(folder))
    app.config.update(MAIL_SERVER=server.host, MAIL_PORT=server.port)
    mail = flask_integration.Mail(app)
    given = _evaluated(given, Lazy)
    pairs = {
        key: [entry if isinstance(entry, str) else tuple(entry) for entry in given.get(key, [])]
        for key in ("to", "cc", "bcc", "reply_to")
    }
    with app.app_context(), contextlib.closing(mail):
        if "content" in given:
            mail.send(_as_object(given, folder), **_envelope_from(given))
            return
        sender = given["from"]
        message = flask_integration.Message(
            given.get("subject", "a subject"),
            pairs["to"],
            given.get("body", "text\n"),
            given.get("html"),
            sender=sender if isinstance(sender, str) else tuple(sender),
            cc=pairs["cc"],
            bcc=pairs["bcc"],
            reply_to=pairs["reply_to"] or None,
            extra_headers=given.get("headers"),
        )
        for attachment in given.get("attachments", ()):
            message.attach_path(_file_in(folder, attachment))
        mail.send(message, **_envelope_from(given))


def _envelope_from(given: dict[str, Any]) -> dict[str, Any]:
    sender = given.get("envelope", {}).get("from")
    return {"envelope_from": sender} if sender else {}


def _by_cli(given: dict[str, Any], server: Sink, folder: Path) -> None:
    command = [sys.executable, "-m", "mailbackends", "send"]
    command += ["--server", f"smtp://{server.host}:{server.port}"]
    for key in ADDRESS_FIELDS:
        for entry in _entries(given, key):
            command += [f"--{key.replace('_', '-')}", _text_of(entry)]
    command += ["--subject", given.get("subject", "a subject")]
    command += ["--text", given.get("body", "text\n")]
    for attachment in given.get("attachments", ()):
        command += ["--attach", os.fspath(_file_in(folder, attachment))]
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise ValueError(done.stderr)


INTERFACES: dict[str, Callable[[dict[str, Any], Sink, Path], None]] = {
    "mailer": _by_mailer,
    "smtp": _by_smtp,
    "django": _by_django,
    "flask": _by_flask,
    "cli": _by_cli,
}
NEEDS = {"django": "django", "flask": "flask", "cli": "rich"}


def missing(interface: str) -> str | None:
    """The package that this interface needs and that is not installed."""
    package = NEEDS.get(interface)
    return package if package and find_spec(package) is None else None


# --- Reading -------------------------------------------------------------------------------


def unfolded(content: bytes, name: str) -> list[str]:
    """The values of a field, of which each line but the first begins with white space."""
    head, _, _ = content.partition(b"\r\n\r\n")
    values: list[str] = []
    for line in head.decode("utf-8", "surrogateescape").split("\r\n"):
        if line[:1] in (" ", "\t"):
            values[-1] += line
        else:
            values.append(line)
    found = [value.partition(":") for value in values]
    return [value.strip(" \t") for key, _, value in found if key.lower() == name.lower()]


def decoded(text: str) -> str:
    """The text with its encoded words decoded."""
    return str(make_header(decode_header(text))) if "=?" in text else text


def mailboxes(value: str) -> list[list[str]]:
    """The names and addresses in a field, found before any encoded word is decoded."""
    pairs = email.utils.getaddresses([value], **_LENIENT)
    return [[decoded(name), spec] for name, spec in pairs]


def check(received: Received | Exception, case: Case, interface: str) -> None:
    """Compare what arrived with what is expected.

    Raises:
        AssertionError: it differs.
    """
    expected = case.for_interface(interface)
    if "refused" in expected:
        assert isinstance(received, ValueError), received
        for words in expected["refused"]:
            assert words in str(received)
        return
    assert isinstance(received, Received), received
    content = received.content
    for problem in problems(content):
        raise AssertionError(problem)
    for name, value in expected.get("headers", {}).items():
        assert [decoded(text) for text in unfolded(content, name)] == [value]
    for name, values in expected.get("addresses", {}).items():
        [text] = unfolded(content, name)
        assert mailboxes(text) == values, text
    for text in expected.get("contains", []):
        assert text.replace("\n", "\r\n").encode() in content, content
    for text in expected.get("lacks", []):
        assert text.encode() not in content, content
    if expected.get("unchanged"):
        assert content == _content(case.given)
    if "envelope" in expected:
        envelope = {"from": received.mail_from, "to": list(received.rcpt_tos)}
        assert {name: envelope[name] for name in expected["envelope"]} == expected["envelope"]
    if "smtputf8" in expected:
        assert ("SMTPUTF8" in received.mail_options) is expected["smtputf8"]
    _check_parts(received, expected)


def problems(content: bytes) -> Iterator[str]:
    """Faults that no message may have: RFC 5321 section 4.5.3.1, RFC 5322 section 2.1.1."""
    head, _, _ = content.partition(b"\r\n\r\n")
    if any(len(line) > 998 for line in content.split(b"\r\n")):
        yield "a line has more than 998 octets"
    if b"\0" in content:
        yield "it contains a NUL"
    if any(not line.strip() for line in head.split(b"\r\n")):
        yield "a line of the header is empty"


def _check_parts(received: Received, expected: dict[str, Any]) -> None:
    data = received.content.replace(b"\r\n", b"\n")
    message = message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    for kind in ("plain", "html"):
        key = "body" if kind == "plain" else "html"
        if key in expected:
            part = message.get_body((kind,))
            assert part is not None
            assert part.get_content().rstrip("\n") == expected[key].rstrip("\n")
    if "attachments" in expected:
        parts = list(message.iter_attachments())
        assert len(parts) == len(expected["attachments"])
        for part, wanted in zip(parts, expected["attachments"], strict=True):
            if "name" in wanted:
                assert part.get_filename() == wanted["name"]
            if "type" in wanted:
                assert part.get_content_type() == wanted["type"]
            if "charset" in wanted:
                assert str(part.get_param("charset", "")).lower() == wanted["charset"]
            if "encodings" in wanted:
                assert str(part["Content-Transfer-Encoding"] or "7bit") in wanted["encodings"]
            if "content" in wanted:
                assert _content_of(part) == wanted["content"].encode()


def _content_of(part: Any) -> bytes:
    if part.get_content_type() == "message/rfc822":
        return bytes(part.get_payload(0).as_bytes())
    return bytes(part.get_payload(decode=True))
