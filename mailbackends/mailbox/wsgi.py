"""The mailbox as a WSGI application (PEP 3333), and a web server for it."""

from __future__ import annotations

import ipaddress
import sys
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import quote
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from mailbackends.mailbox.http import Request
from mailbackends.mailbox.mailbox import Mailbox

__all__ = ["WebServer", "application", "is_loopback", "request_from_environ"]

LARGEST_BODY = 64 * 1024  # bytes


def request_from_environ(environ: dict[str, Any], *, base: str, path: str) -> Request:
    """The `Request` for a WSGI environment. ``base`` and ``path`` are those of `Request`."""
    headers = {
        name[5:].replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    headers["content-type"] = environ.get("CONTENT_TYPE", "")
    try:
        length = min(int(environ.get("CONTENT_LENGTH") or 0), LARGEST_BODY)
    except ValueError:
        length = 0
    return Request(
        method=environ["REQUEST_METHOD"],
        path=path,
        base=base,
        query_string=environ.get("QUERY_STRING", ""),
        headers=headers,
        body=environ["wsgi.input"].read(length) if length > 0 else b"",
        scheme=environ["wsgi.url_scheme"],
        may_wait=bool(environ.get("wsgi.multithread")),
    )


def application(box: Mailbox) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """A WSGI application that serves the mailbox, wherever it is mounted."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
        base = quote(environ.get("SCRIPT_NAME", "").encode("latin-1"))
        request = request_from_environ(environ, base=f"{base}/", path=path.removeprefix("/"))
        response = box.handle(request)
        status = HTTPStatus(response.status)
        headers = {**response.headers, "Content-Length": str(len(response.body))}
        start_response(f"{status.value} {status.phrase}", list(headers.items()))
        return [] if request.method == "HEAD" else [response.body]

    return answer


def is_loopback(host: str) -> bool:
    """True if only this machine can reach ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # Do not wait for requests that wait for new mail.
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore browsers that closed the connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(WSGIRequestHandler):
    timeout = 30  # seconds for a browser to send its request

    def log_message(self, format: str, *args: Any) -> None:
        """Do nothing: the terminal shows the mail."""


class WebServer:
    """Serves the page from `start` to `stop`, in a thread.

    Raises:
        OSError: the port is in use.
    """

    def __init__(self, box: Mailbox, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = make_server(host, port, application(box), _Server, _Handler)
        self.host = host
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="mailbox page", daemon=True
        )

    @property
    def url(self) -> str:
        """The URL of the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    def start(self) -> None:
        """Start to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and release the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
