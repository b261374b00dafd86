"""`Mailbox`: a store, its faults, its SMTP server, and an answer to each request."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from mailbackends.mailbox import api, files, guard, pages
from mailbackends.mailbox.faults import Fault, Faults
from mailbackends.mailbox.http import Refusal, Request, Response, as_json, redirect
from mailbackends.mailbox.message import Message, clean_name
from mailbackends.mailbox.pages import View
from mailbackends.mailbox.server import MailServer
from mailbackends.mailbox.store import Store
from mailbackends.previews import Preview, Previews
from mailbackends.previews import preview as registered

__all__ = ["Mailbox"]

logger = logging.getLogger("mailbackends.mailbox")


class Mailbox:
    """Keeps mail, and shows it. Nothing listens before `listen`.

    Args:
        path: an SQLite file; None keeps mail in memory.
        keep: how many messages are kept.
        faults: what goes wrong from the beginning.
        previews: the mails of an application; those that `mailbackends.previews.preview`
            registered where it is None.
        hosts: names by which browsers may call it beside those of loopback.

    Raises:
        sqlite3.Error, OSError: the file cannot be used.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        keep: int = 1000,
        faults: Iterable[Fault] = (),
        previews: Previews | None = None,
        hosts: Collection[str] = (),
    ) -> None:
        self.store = Store(path, keep=keep)
        self.faults = Faults(faults)
        self.previews = registered if previews is None else previews
        self.hosts = frozenset(hosts)
        self._server: MailServer | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()

    @property
    def server(self) -> MailServer | None:
        """The SMTP server, once there is one."""
        return self._server

    def listen(self, port: int = 0, *, host: str = "127.0.0.1") -> MailServer:
        """The SMTP server, which is started where none runs in this process.

        Raises:
            OSError: the port is taken.
        """
        with self._lock:
            # A thread does not come along through fork().
            if self._server is None or self._pid != os.getpid():
                server = MailServer(self.store, self.faults, host=host, port=port)
                server.start()
                self._server, self._pid = server, os.getpid()
            return self._server

    def close(self) -> None:
        """Stop the server, and let go of the mail that is in memory."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.stop()
        self.store.close()

    def handle(self, request: Request) -> Response:
        """The answer to a request, with all its headers. Nothing that a client sends raises."""
        try:
            guard.check(request, self.store.token, self.hosts)
            response = self._answer(request)
        except Refusal as refused:
            if request.wants_json:
                response = as_json({"error": refused.text}, refused.status)
            elif refused.status == 421:  # no page for whom it must not be shown to
                response = Response(
                    refused.text.encode(), "text/plain; charset=utf-8", refused.status
                )
            else:
                response = pages.refusal(self, request, refused)
        return Response(
            response.body, response.content_type, response.status, guard.harden(response)
        )

    def _answer(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        allowed = set()
        for verb, pattern, action in _ROUTES:
            if match := pattern.fullmatch(request.path):
                if verb == method:
                    return action(self, request, *match.groups())
                allowed.add(verb)
        if allowed:
            raise Refusal(405, f"This takes {' and '.join(sorted(allowed))} only.")
        raise Refusal(404, "There is nothing here.")

    # What the routes need

    def _view(self, number: str) -> View:
        mail = self.store.get(int(number))
        if mail is None:
            raise Refusal(404, "There is no such message, or no longer.")
        return View(Message(mail.content), f"messages/{number}/", mail)

    def _preview(self, name: str) -> Preview:
        found = self.previews.get(name)
        if found is None:
            raise Refusal(404, "There is no such preview.")
        return found

    def _page(self, request: Request, number: str) -> Response:
        view = self._view(number)
        self.store.mark_read(int(number))
        return pages.message(self, _selected(request, number), view)

    def _preview_page(self, request: Request, name: str) -> Response:
        one = self._preview(name)
        try:
            # Whatever is wrong with the application's own function, its author wants to see.
            view = View(Message(one.content()), f"previews/{name}/")
        except Exception:
            logger.warning("The preview %r failed", name, exc_info=True)
            return pages.preview(self, request, one, None)
        return pages.preview(self, request, one, view)

    def _resource(self, kind: str, name: str) -> View:
        if kind == "messages":
            return self._view(name if name.isdigit() else "0")
        one = self._preview(name)
        try:
            return View(Message(one.content()), f"previews/{name}/")
        except Exception as error:
            raise Refusal(500, f"The preview failed: {error!r}") from error

    def _frame(self, request: Request, kind: str, name: str) -> Response:
        return files.frame(self._resource(kind, name), remote=request.query.get("remote") == "1")

    def _raw(self, request: Request, kind: str, name: str) -> Response:
        view = self._resource(kind, name)
        return files.raw(view, clean_name(view.message.subject)[:80] or "message")

    def _part(self, request: Request, kind: str, name: str, index: str) -> Response:
        part = self._resource(kind, name).part(int(index))
        if part is None:
            raise Refusal(404, "The message has no such part.")
        return files.part(part, inline=request.query.get("open") == "1")

    def _delete(self, request: Request, number: str) -> Response:
        self.store.delete(int(number))
        return redirect(request.base)

    def _delete_json(self, request: Request, number: str) -> Response:
        if not self.store.delete(int(number)):
            raise Refusal(404, "There is no such message, or no longer.")
        return as_json({"deleted": 1})

    def _clear(self, request: Request) -> Response:
        self.store.clear()
        return redirect(request.base)

    def _add_fault(self, request: Request) -> Response:
        given = {name: value for name, value in request.form.items() if name != "token"}
        try:
            self.faults.add(Fault.from_dict(given))
        except ValueError as error:
            return pages.faults(self, request, error=str(error), status=400)
        return redirect(f"{request.base}faults/")

    def _remove_fault(self, request: Request, number: str) -> Response:
        self.faults.remove(int(number))
        return redirect(f"{request.base}faults/")

    def _remove_fault_json(self, request: Request, number: str) -> Response:
        if not self.faults.remove(int(number)):
            raise Refusal(404, "There is no such fault, or no longer.")
        return as_json({"removed": 1})

    def _clear_faults_json(self, request: Request) -> Response:
        self.faults.clear()
        return as_json({"faults": []})


def _selected(request: Request, number: str) -> Request:
    request.query["selected"] = number
    return request


Action = Callable[..., Response]
_ID, _NAME = r"([0-9]{1,15})", r"([a-z0-9_-]{1,200})"
_ANY = rf"(messages|previews)/{_NAME}/"
_ROUTES: list[tuple[str, re.Pattern[str], Action]] = [
    (verb, re.compile(pattern, re.ASCII), action)
    for verb, pattern, action in (
        ("GET", r"", pages.index),
        ("GET", r"list", pages.list_items),
        ("GET", rf"messages/{_ID}/", Mailbox._page),
        ("GET", r"previews/", pages.previews),
        ("GET", rf"previews/{_NAME}/", Mailbox._preview_page),
        ("GET", rf"{_ANY}frame", Mailbox._frame),
        ("GET", rf"{_ANY}raw", Mailbox._raw),
        ("GET", rf"{_ANY}parts/([0-9]{{1,4}})", Mailbox._part),
        ("POST", rf"messages/{_ID}/delete", Mailbox._delete),
        ("POST", r"delete", Mailbox._clear),
        ("GET", r"faults/", pages.faults),
        ("POST", r"faults/", Mailbox._add_fault),
        ("POST", rf"faults/{_ID}/remove", Mailbox._remove_fault),
        ("GET", r"static/([a-z]+\.[a-z]+)", lambda box, request, name: files.static(name)),
        ("GET", r"api/messages", api.messages),
        ("DELETE", r"api/messages", lambda box, request: as_json({"deleted": box.store.clear()})),
        ("GET", rf"api/messages/{_ID}", lambda box, request, n: api.message(request, box._view(n))),
        ("DELETE", rf"api/messages/{_ID}", Mailbox._delete_json),
        ("GET", r"api/changes", api.changes),
        ("GET", r"api/faults", lambda box, request: api.faults(box)),
        ("POST", r"api/faults", api.add_fault),
        ("DELETE", r"api/faults", Mailbox._clear_faults_json),
        ("DELETE", rf"api/faults/{_ID}", Mailbox._remove_fault_json),
    )
]
