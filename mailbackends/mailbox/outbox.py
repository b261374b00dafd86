"""Pages that show an outbox: where is the mail to Ada, and what should become of it?

Unlike the rest of the mailbox they are also for production: whoever serves them says for each
request what its user may do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from jinja2 import Environment, PackageLoader, StrictUndefined

from mailbackends.errors import SMTPException
from mailbackends.mailbox.contents import View
from mailbackends.mailbox.files import frame, raw, static
from mailbackends.mailbox.http import (
    Refusal,
    Request,
    Response,
    check_origin,
    hardened_headers,
    redirect,
)
from mailbackends.mailbox.message import StoredMessage
from mailbackends.outbox import CANCELLABLE, FINAL, OutboxMessage, State, source_of
from mailbackends.outbox.rendering import render_message, rendered
from mailbackends.texts import count_of

__all__ = ["Allows", "outbox_page"]

Allows = Callable[[str], str | bool | None]
"""Asked with ``"view"``, ``"read"`` (contents) or ``"manage"``; what is false refuses. A text is
the user's name, for the history."""

_MOST = 200  # messages in the list
_ONE = re.compile(r"([0-9a-f-]{36})/(frame|source|do|)")
_ACTS = {
    "resend": "will be sent again",
    "everyone": "will be sent again to all recipients",
    "cancel": "cancelled",
    "arrived": "marked as arrived",
    "missing": "marked as not arrived",
}


def outbox_page(outbox: Any, request: Request, allows: Allows) -> Response:
    """The response to a request below the pages of an outbox.

    ``outbox`` is a `mailbackends.outbox.outbox.Outbox`. What ``allows`` raises is not caught.
    """
    visit = _Visit(outbox, request, allows)
    try:
        response = visit.answer()
    except Refusal as refused:
        response = visit.page("outbox_refusal.html", status=refused.status, text=refused.text)
    headers = hardened_headers(response)
    return Response(response.body, response.content_type, response.status, headers)


class _Visit:
    def __init__(self, outbox: Any, request: Request, allows: Allows) -> None:
        self.outbox = outbox
        self.request = request
        self.allows = allows
        self.user = ""

    def answer(self) -> Response:
        path = self.request.path
        if path.startswith("static/"):
            return static(path.removeprefix("static/"))
        self.require("view")
        if self.request.method not in ("GET", "HEAD"):
            self._check_that_it_is_our_form()
        if path == "":
            return self.listing()
        if path == "do":
            return self.do_all()
        match = _ONE.fullmatch(path)
        message = self.outbox.store.get(_uuid(match[1])) if match else None
        if match is None or message is None:
            raise Refusal(404, "This message does not exist, or was pruned.")
        act = {"": self.message, "frame": self.frame, "source": self.source, "do": self.do}
        return act[match[2]](message)

    def require(self, permission: str) -> None:
        allowed = self.allows(permission)
        if not allowed:
            raise Refusal(403, f"You may not {permission} messages in the outbox.")
        if isinstance(allowed, str):
            self.user = allowed[:200]

    def _check_that_it_is_our_form(self) -> None:
        headers = self.request.headers
        # Here forms have no token: browsers send one of these with each form (since 2020).
        if "origin" not in headers and "sec-fetch-site" not in headers:
            raise Refusal(403, "The browser does not say where the form comes from.")
        check_origin(self.request)

    def listing(self) -> Response:
        search, state = (self.request.query.get(name, "").strip() for name in ("q", "state"))
        store = self.outbox.store
        if search:
            found = self._search(search)
        else:
            found = store.find(state=State(state) if state in set(State) else None, limit=_MOST)
        status = store.status()
        return self.page(
            "outbox_list.html",
            search=search,
            state=state,
            found=found,
            most=_MOST,
            outbox=status,
            counts=[(each, status.messages[each]) for each in State if each in status.messages],
            done=self.request.query.get("done", ""),
        )

    def _search(self, text: str) -> list[OutboxMessage]:
        """What has this id, key, Message-ID or recipient."""
        store = self.outbox.store
        try:
            message = store.get(UUID(text))
        except ValueError:
            message = None
        if message is not None:
            return [message]
        for given in (
            {"key": text},
            {"message_id": f"<{text.strip('<>')}>"},
            {"message_id": text},
            {"address": text},
            {"address": text.lower()},
        ):
            if found := store.find(**given, limit=_MOST):
                return list(found)
        return []

    def message(self, message: OutboxMessage) -> Response:
        can_manage = bool(self.allows("manage"))
        is_erased = not message.content and not message.blobs
        return self.page(
            "outbox_message.html",
            message=message,
            log=self.outbox.store.log(message.id),
            is_erased=is_erased,
            can_read=bool(self.allows("read")) and not is_erased,
            can_resend=can_manage and message.state in FINAL and not is_erased,
            can_cancel=can_manage and message.state in CANCELLABLE,
            can_resolve=can_manage and message.state is State.UNKNOWN,
            done=self.request.query.get("done", ""),
        )

    def frame(self, message: OutboxMessage) -> Response:
        """The message as its recipients see it."""
        view = self._view(message)
        if view.message.html is not None:
            return frame(view, remote=False)
        text = (view.message.text or "").encode("utf-8", "replace")
        return Response(
            text, "text/plain; charset=utf-8", headers={"X-Frame-Options": "SAMEORIGIN"}
        )

    def source(self, message: OutboxMessage) -> Response:
        """The message as a file, as it is sent."""
        return raw(self._view(message), str(message.id))

    def _view(self, message: OutboxMessage) -> View:
        self.require("read")
        if not message.content and not message.blobs:
            raise Refusal(404, "The content was erased.")
        try:
            made = rendered(message, render_message)
            content = b"".join(source_of(made, self.outbox.blobs))
        except SMTPException as error:
            raise Refusal(404, f"The content cannot be read: {error}.") from error
        self.outbox.store.add_log(message.id, "content read", by=self.user)
        return View(StoredMessage(content), "")

    def do(self, message: OutboxMessage) -> Response:
        self.require("manage")
        act = self._act()
        try:
            was_done = self._apply(act, message.id)
        except ValueError as error:
            raise Refusal(409, f"Nothing was changed: {error}.") from error
        if not was_done:
            raise Refusal(409, "The message has changed meanwhile: look at it again.")
        return redirect(f"{self.request.base}{message.id}/?done={act}")

    def do_all(self) -> Response:
        """What was selected in the list."""
        self.require("manage")
        act = self._act()
        count, errors = 0, set()
        for name in self.request.form:
            try:
                count += self._apply(act, UUID(name)) if len(name) == 36 else 0
            except ValueError as error:
                errors.add(str(error))
        if errors:
            reasons = "; ".join(sorted(errors))
            raise Refusal(409, f"{count_of(count)} {_ACTS[act]}. Not all of them: {reasons}.")
        return redirect(f"{self.request.base}?done={act}")

    def _act(self) -> str:
        act = self.request.form.get("act", "")
        if self.request.method != "POST" or act not in _ACTS:
            raise Refusal(400, "The action is unknown: use the buttons on the page.")
        return act

    def _apply(self, act: str, id: UUID) -> bool:
        if act in ("resend", "everyone"):
            return bool(self.outbox.resend(id, by=self.user, everyone=act == "everyone"))
        if act == "cancel":
            return bool(self.outbox.cancel(id, by=self.user))
        return bool(self.outbox.resolve(id, arrived=act == "arrived", by=self.user))

    def page(self, name: str, *, status: int = 200, **values: Any) -> Response:
        values = {"base": self.request.base, "search": "", "acts": _ACTS, **values}
        text = _templates().get_template(name).render(values)
        return Response(text.encode("utf-8", "replace"), status=status)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Refusal(404, "This message does not exist.") from error


@lru_cache(maxsize=1)
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("mailbackends.mailbox"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(moment=_moment, badge=_badge)
    return templates


def _moment(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _badge(state: str) -> str:
    """The class of the state's badge."""
    if state == "accepted":
        return "good"
    if state in ("refused", "parked", "expired"):
        return "bad"
    return "odd" if state == "unknown" else ""
