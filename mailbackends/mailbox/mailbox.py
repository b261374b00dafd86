"""`Mailbox`: the stored mail, the SMTP server that receives it, and the HTTP responses."""

from __future__ import annotations

import os
import threading
from typing import Any

from mailbackends.mailbox import pages, routes
from mailbackends.mailbox.contents import Contents
from mailbackends.mailbox.http import (
    Refusal,
    Request,
    Response,
    as_json,
    check_request,
    hardened_headers,
)
from mailbackends.mailbox.server import MailServer

__all__ = ["Mailbox"]


class Mailbox(Contents):
    """Stores mail and shows it; `listen` starts the server. For the arguments see `Contents`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._server: MailServer | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()

    @property
    def server(self) -> MailServer | None:
        """The SMTP server, or None before `listen`."""
        return self._server

    def listen(self, port: int = 0, *, host: str = "127.0.0.1") -> MailServer:
        """Start the SMTP server, unless it runs in this process, and return it.

        Raises:
            OSError: the port is in use.
        """
        with self._lock:
            # A forked child does not have the thread.
            if self._server is None or self._pid != os.getpid():
                server = MailServer(self.store, self.faults, host=host, port=port)
                server.start()
                self._server, self._pid = server, os.getpid()
            return self._server

    def close(self) -> None:
        """Stop the server, and close the store."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.stop()
        self.store.close()

    def handle(self, request: Request) -> Response:
        """The response to a request. It does not raise, whatever a client sends."""
        try:
            check_request(request, self.store.token, self.hosts)
            response = routes.answer(self, request)
        except Refusal as refused:
            if request.wants_json:
                response = as_json({"error": refused.text}, refused.status)
            elif refused.status == 421:  # for a host that must not see the page
                response = Response(
                    refused.text.encode(), "text/plain; charset=utf-8", refused.status
                )
            else:
                response = pages.refusal(self, request, refused)
        return Response(
            response.body, response.content_type, response.status, hardened_headers(response)
        )
