"""The routes: which function answers which request."""

from __future__ import annotations

import re
from collections.abc import Callable

from mailbackends.mailbox import api, files, pages
from mailbackends.mailbox.contents import Contents
from mailbackends.mailbox.faults import Fault
from mailbackends.mailbox.http import Refusal, Request, Response, redirect
from mailbackends.mailbox.message import clean_name

__all__ = ["answer"]


def answer(box: Contents, request: Request) -> Response:
    """The response to a request that `http.check_request` let through.

    Raises:
        Refusal: the path does not exist, or does not allow this method.
    """
    method = "GET" if request.method == "HEAD" else request.method
    allowed = set()
    for verb, pattern, action in _ROUTES:
        if match := pattern.fullmatch(request.path):
            if verb == method:
                return action(box, request, *match.groups())
            allowed.add(verb)
    if method == "GET" and _is_page(f"{request.path}/"):
        query = f"?{request.query_string}" if request.query_string else ""
        return redirect(f"{request.base}{request.path}/{query}")
    if allowed:
        raise Refusal(405, f"Only {' and '.join(sorted(allowed))} are allowed here.")
    raise Refusal(404, "This page does not exist.")


def _is_page(path: str) -> bool:
    return any(verb == "GET" and pattern.fullmatch(path) for verb, pattern, _ in _ROUTES)


def _message_page(box: Contents, request: Request, number: str) -> Response:
    view = box.message(number)
    box.store.mark_read(int(number))
    request.query["selected"] = number
    return pages.message(box, request, view)


def _preview_page(box: Contents, request: Request, name: str) -> Response:
    preview = box.preview(name)
    try:
        view = box.rendered(preview)
    except Exception:
        # The application's function failed: the page shows the traceback.
        return pages.preview(box, request, preview, None)
    return pages.preview(box, request, preview, view)


def _frame(box: Contents, request: Request, kind: str, name: str) -> Response:
    return files.frame(box.view(kind, name), remote=request.query.get("remote") == "1")


def _raw(box: Contents, request: Request, kind: str, name: str) -> Response:
    view = box.view(kind, name)
    return files.raw(view, clean_name(view.message.subject)[:80] or "message")


def _part(box: Contents, request: Request, kind: str, name: str, index: str) -> Response:
    part = box.view(kind, name).part(int(index))
    if part is None:
        raise Refusal(404, "This part does not exist.")
    return files.part(part, inline=request.query.get("open") == "1")


def _delete(box: Contents, request: Request, number: str) -> Response:
    box.store.delete(int(number))
    return redirect(request.base)


def _delete_selected(box: Contents, request: Request) -> Response:
    for name in request.form:
        if match := _SELECTED.fullmatch(name):
            box.store.delete(int(match[1]))
    return redirect(request.base)


def _delete_all(box: Contents, request: Request) -> Response:
    box.store.clear()
    return redirect(request.base)


def _add_fault(box: Contents, request: Request) -> Response:
    given = {name: value for name, value in request.form.items() if name != "token"}
    try:
        box.faults.add(Fault.from_dict(given))
    except ValueError as error:
        return pages.faults(box, request, error=str(error), status=400)
    return redirect(f"{request.base}faults/")


def _remove_fault(box: Contents, request: Request, number: str) -> Response:
    box.faults.remove(int(number))
    return redirect(f"{request.base}faults/")


def _static(box: Contents, request: Request, name: str) -> Response:
    return files.static(name)


_SELECTED = re.compile(r"message-([0-9]{1,15})", re.ASCII)
Action = Callable[..., Response]
_ID, _NAME = r"([0-9]{1,15})", r"([a-z0-9_-]{1,200})"
_ANY = rf"(messages|previews)/{_NAME}/"
_ROUTES: list[tuple[str, re.Pattern[str], Action]] = [
    (verb, re.compile(pattern, re.ASCII), action)
    for verb, pattern, action in (
        ("GET", r"", pages.index),
        ("GET", r"list", pages.list_items),
        ("GET", rf"messages/{_ID}/", _message_page),
        ("GET", r"previews/", pages.previews),
        ("GET", rf"previews/{_NAME}/", _preview_page),
        ("GET", rf"{_ANY}frame", _frame),
        ("GET", rf"{_ANY}raw", _raw),
        ("GET", rf"{_ANY}parts/([0-9]{{1,4}})", _part),
        ("POST", rf"messages/{_ID}/delete", _delete),
        ("POST", r"delete", _delete_all),
        ("POST", r"delete-selected", _delete_selected),
        ("GET", r"faults/", pages.faults),
        ("POST", r"faults/", _add_fault),
        ("POST", rf"faults/{_ID}/remove", _remove_fault),
        ("GET", r"static/([a-z]+\.[a-z]+)", _static),
        ("GET", r"api/messages", api.messages),
        ("DELETE", r"api/messages", api.delete_messages),
        ("GET", rf"api/messages/{_ID}", api.message),
        ("DELETE", rf"api/messages/{_ID}", api.delete_message),
        ("GET", r"api/changes", api.changes),
        ("GET", r"api/faults", api.faults),
        ("POST", r"api/faults", api.add_fault),
        ("DELETE", r"api/faults", api.clear_faults),
        ("DELETE", rf"api/faults/{_ID}", api.remove_fault),
    )
]
