"""Messages whose content is made by a function of the application just before they are sent.

Such a row has the header of the message, and the arguments of the function as JSON in place of the
body. The function's path is in ``mail_options``, which no content can forge. Envelope, Message-ID
and Date are those from when it was stored.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pkgutil import resolve_name
from typing import Any

from mailbackends.errors import (
    ConfigurationError,
    InvalidMessageError,
    Outcome,
    SMTPException,
)
from mailbackends.mailer.submission import Submission
from mailbackends.outbox.content import DATE_OR_ID, outbox_message
from mailbackends.outbox.delivery import Deliver, Hooks, Result
from mailbackends.outbox.values import OutboxMessage
from mailbackends.suppression.store import SuppressionList

__all__ = [
    "Render",
    "RenderedDelivery",
    "Template",
    "deliver_rendered",
    "render_message",
    "rendered",
    "template_message",
    "template_of",
]

_NOBODY = ["nobody@example.com"]  # for people who look at a message that was sent
_OPTION = "X-MAILBACKENDS-RENDER="
# What describes the body, which is not there yet.
_OF_BODY = re.compile(rb"(?im)^(?:content-[\w-]+|mime-version):[^\n]*\n(?:[ \t][^\n]*\n)*")
# The names of PEP 249 for a database that cannot be reached, which Django and SQLAlchemy have too;
# and those of connections, which clients of other services use for exceptions of their own.
_PASSING = frozenset({"OperationalError", "InterfaceError", "ConnectionError", "TimeoutError"})
# What the function has made, or files that it does not find, are the same next time.
_LASTING = (SMTPException, FileNotFoundError, IsADirectoryError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class Template:
    """What a message is made of when it is sent."""

    render: str
    """The path of the function."""
    context: Mapping[str, Any]
    """Its keyword arguments."""
    header: bytes
    """The header fields of the message, without those of a body."""

    @property
    def function(self) -> Callable[..., Any]:
        """The function.

        Raises:
            ConfigurationError: it does not exist.
        """
        return function_at(self.render)


Render = Callable[[Template], Submission]
"""Calls the function of a template, and returns what it has made."""


def function_at(path: str) -> Callable[..., Any]:
    """The function at a path such as ``"shop.mails.order"``.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        found = resolve_name(path)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"render={path!r} cannot be imported ({error}): give the path of a function, such as "
            "'shop.mails.order_confirmation'"
        ) from error
    if not callable(found):
        raise ConfigurationError(f"render={path!r} is not a function")
    function: Callable[..., Any] = found
    return function


def template_message(
    submission: Submission, render: str, context: Mapping[str, Any] | None, **options: Any
) -> OutboxMessage:
    """The row for a message that is rendered when it is sent; ``options`` as `outbox_message`.

    Raises:
        InvalidAddressError, InvalidMessageError: as `outbox_message`.
        ConfigurationError: the function does not exist, or the context cannot be stored as JSON.
    """
    function_at(render)
    if context is not None and not isinstance(context, Mapping):
        raise ConfigurationError(f"context must be a dictionary, got {type(context).__name__}")
    try:
        stored = json.dumps(dict(context or {}), indent=1)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"context cannot be stored as JSON ({error}): give numbers, texts, lists and "
            "dictionaries, such as the id of an order"
        ) from error
    head = outbox_message(submission, inline_limit=2**62)
    header = _header(head.content)
    content = header + b"MIME-Version: 1.0\r\nContent-Type: application/json\r\n\r\n"
    content += stored.replace("\n", "\r\n").encode("ascii") + b"\r\n"
    to = [each.address for each in head.recipients]
    again = Submission(
        content, head.sender, to, head.mail_options, head.rcpt_options, stream=head.stream or None
    )
    made = outbox_message(again, **options)
    fingerprint = made.fingerprint
    if fingerprint:
        # The same arguments for another function are another message.
        fingerprint = hashlib.sha256(f"{fingerprint} {render}".encode()).hexdigest()
    options_of_mail = (*made.mail_options, _OPTION + render)
    return replace(made, mail_options=options_of_mail, fingerprint=fingerprint)


def _header(content: bytes) -> bytes:
    head, _, _ = content.partition(b"\r\n\r\n")
    return _OF_BODY.sub(b"", head + b"\r\n")


def template_of(message: OutboxMessage) -> Template | None:
    """The template of a message; None where its content is stored.

    Raises:
        InvalidMessageError: the row cannot be read.
    """
    for option in message.mail_options:
        if option.startswith(_OPTION):
            _, _, body = message.content.partition(b"\r\n\r\n")
            try:
                context = json.loads(body)
            except ValueError as error:
                raise InvalidMessageError(f"the context cannot be read: {error}") from error
            return Template(option.removeprefix(_OPTION), context, _header(message.content))
    return None


def rendered(message: OutboxMessage, render: Render) -> OutboxMessage:
    """The message with its content: rendered now, if it has a template.

    Raises:
        InvalidMessageError: that failed.
        SMTPException: it failed because a database or another service cannot be reached; the
            outcome is "not_sent".
    """
    template = template_of(message)
    if template is None:
        return message
    try:
        # For whom it is was decided when it was stored.
        submission = replace(
            render(template), from_addr=message.sender, to_addrs=message.pending or _NOBODY
        )
        made = outbox_message(submission, inline_limit=2**62)
    except Exception as error:
        text = f"{template.render} failed: {type(error).__name__}: {error}"
        if not _may_pass(error):
            raise InvalidMessageError(text) from error
        failure = SMTPException(text)
        failure.outcome = Outcome.NOT_SENT
        raise failure from error
    head, end, body = made.content.partition(b"\r\n\r\n")
    date = DATE_OR_ID.findall(template.header) or [
        f"Date: {format_datetime(message.created_at or datetime.now(UTC))}\r\n".encode()
    ]
    content = (
        b"".join(date) + DATE_OR_ID.sub(b"", head + b"\r\n").removesuffix(b"\r\n") + end + body
    )
    options = tuple(each for each in message.mail_options if not each.startswith(_OPTION))
    if "SMTPUTF8" in made.mail_options and "SMTPUTF8" not in options:
        options = ("SMTPUTF8", *options)
    return replace(message, content=content, mail_options=options, size=len(content))


def _may_pass(error: BaseException | None) -> bool:
    """True where the function may work later: a database is down, say, or the network."""
    while error is not None and not isinstance(error, _LASTING):
        if isinstance(error, OSError):
            return True
        if any(each.__name__ in _PASSING for each in type(error).__mro__):
            return True
        error = error.__cause__
    return False


def render_message(template: Template) -> Submission:
    """Call the function with an `email.message.EmailMessage` that has the header fields.

    It sets the body, and may set the subject; or it returns another message.
    """
    message = message_from_bytes(template.header + b"\r\n", _class=EmailMessage, policy=SMTP)
    result = template.function(message, **template.context)
    return Submission(message if result is None else result)


def deliver_rendered(
    messages: Iterator[OutboxMessage],
    hooks: Hooks,
    render: Render,
    deliver: Callable[[Iterator[OutboxMessage], Hooks], Iterator[Sequence[Result]]],
) -> Iterator[Sequence[Result]]:
    """What ``deliver`` yields for the messages, each rendered just before it is sent.

    A message that cannot be rendered is not given to it: its result is the error, with which it is
    parked, or tried again if a database or another service could not be reached.
    """
    taken: dict[Any, OutboxMessage] = {}
    failed: list[Result] = []

    def each() -> Iterator[OutboxMessage]:
        for message in messages:
            try:
                made = rendered(message, render)
            except SMTPException as error:
                failed.append((message, error))
            else:
                taken[message.id] = message
                yield made

    # The worker knows the messages as it has claimed them.
    claimed = Hooks(
        lambda some: hooks.before_end([taken[each.id] for each in some]),
        lambda message, receipt: hooks.after_part(taken[message.id], receipt),
    )
    for results in deliver(each(), claimed):
        yield [(taken[message.id], result) for message, result in results]
        if failed:
            yield [failed.pop(0) for _ in list(failed)]
    if failed:
        yield failed


class RenderedDelivery:
    """A `Deliver` that renders messages, and sends them by another one.

    ``surroundings`` is entered while a function is called, such as Flask's application context.
    """

    def __init__(
        self,
        deliver: Deliver,
        surroundings: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._deliver = deliver
        self._surroundings = surroundings

    @property
    def aliases(self) -> Sequence[str]:
        """See `Deliver.aliases`."""
        return self._deliver.aliases

    def suppression(self, alias: str) -> SuppressionList | None:
        """See `Deliver`."""
        ask = getattr(self._deliver, "suppression", None)
        found: SuppressionList | None = None if ask is None else ask(alias)
        return found

    def deliver(
        self, alias: str, messages: Iterator[OutboxMessage], hooks: Hooks
    ) -> Iterator[Sequence[Result]]:
        """See `Deliver.deliver`."""
        return deliver_rendered(
            messages,
            hooks,
            self._render,
            lambda some, hooks: self._deliver.deliver(alias, some, hooks),
        )

    def _render(self, template: Template) -> Submission:
        with self._surroundings():
            return render_message(template)
