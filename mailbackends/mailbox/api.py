"""The JSON interface."""

from __future__ import annotations

from typing import Any

from mailbackends.mailbox.contents import Contents
from mailbackends.mailbox.faults import Fault
from mailbackends.mailbox.http import Refusal, Request, Response, as_json

__all__ = [
    "add_fault", "changes", "clear_faults", "delete_message", "delete_messages", "faults",
    "message", "messages", "remove_fault",
]  # fmt: skip

_LONGEST_WAIT = 25.0  # seconds


def messages(box: Contents, request: Request) -> Response:
    """``q``, ``limit`` and ``before``: a page of the list."""
    search = request.query.get("q", "")
    limit = int(request.number("limit", 50, most=500))
    before = int(request.number("before", 0, most=2**62)) or None
    version = box.store.version
    found = box.store.find(search, limit=limit, before=before)
    return as_json(
        {
            "version": version,
            "total": box.store.count(search),
            "unread": box.store.unread(),
            "messages": [summary.as_dict() for summary in found],
        }
    )


def message(box: Contents, request: Request, number: str) -> Response:
    """One message. Its parts are URLs, not content."""
    view = box.message(number)
    assert view.mail is not None  # noqa: S101 - for the type checker
    summary, arrival = view.mail.summary, view.mail.arrival
    content = view.message
    place = f"{request.base}{view.place}"

    def described(index: int) -> dict[str, Any]:
        part = content.parts[index]
        return {
            "index": index,
            "filename": part.filename,
            "content_type": part.content_type,
            "content_id": part.content_id or None,
            "size": part.size,
            "url": f"{place}parts/{index}",
        }

    return as_json(
        {
            **summary.as_dict(),
            "receipt": {**arrival.as_dict(), "message_id": content.header("Message-ID") or None},
            "headers": content.headers,
            "text": content.text,
            "html": content.html,
            "attachments": [described(part.index) for part in content.attachments],
            "inline_images": [described(part.index) for part in content.inline_images],
            "links": [
                {"url": link.url, "text": link.text, "kind": link.kind, "warning": link.warning}
                for link in view.links
            ],
            "notes": [{"level": note.level, "text": note.text} for note in view.notes],
            "source": f"{place}raw",
        }
    )


def changes(box: Contents, request: Request) -> Response:
    """The version, as soon as it differs from ``since``, or after ``wait`` seconds."""
    since = int(request.number("since", 0, most=2**62))
    wait = request.number("wait", 0, most=_LONGEST_WAIT)
    version = box.store.wait(since, wait if request.may_wait else 0)
    return as_json({"version": version, "may_wait": request.may_wait})


def faults(box: Contents, request: Request) -> Response:
    """All faults."""
    return as_json({"faults": [fault.as_dict() for fault in box.faults.all()]})


def add_fault(box: Contents, request: Request) -> Response:
    """Add a fault."""
    try:
        fault = box.faults.add(Fault.from_dict(request.json()))
    except ValueError as error:
        raise Refusal(400, str(error)) from error
    return as_json(fault.as_dict(), 201)


def delete_messages(box: Contents, request: Request) -> Response:
    """Delete all messages."""
    return as_json({"deleted": box.store.clear()})


def delete_message(box: Contents, request: Request, number: str) -> Response:
    """Delete one message."""
    if not box.store.delete(int(number)):
        raise Refusal(404, "This message does not exist, or was deleted.")
    return as_json({"deleted": 1})


def clear_faults(box: Contents, request: Request) -> Response:
    """Remove all faults."""
    box.faults.clear()
    return as_json({"faults": []})


def remove_fault(box: Contents, request: Request, number: str) -> Response:
    """Remove one fault."""
    if not box.faults.remove(int(number)):
        raise Refusal(404, "This fault does not exist, or was removed.")
    return as_json({"removed": 1})
