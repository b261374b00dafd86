"""`TokenEndpoint`: an OAuth 2.0 token endpoint on loopback with given answers."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

__all__ = ["TokenEndpoint"]


class TokenEndpoint:
    """Counts requests in ``forms``; ``answers`` are used up in order, then tokens are issued.

    An answer is ``(status, object)``, bytes sent as the whole response, or a callable.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.forms: list[dict[str, str]] = []
        self.answers: list[tuple[int, dict[str, Any]] | bytes | Callable[[], None]] = []
        self.lifetime: Any = 3600
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                owner._answer(self)

            def do_GET(self) -> None:
                owner._discover(self)

            def log_message(self, *args: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "http" if context is None else "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def origin(self) -> str:
        return f"{self._scheme}://localhost:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/token"

    def __enter__(self) -> TokenEndpoint:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"])).decode()
        self.forms.append({name: values[-1] for name, values in parse_qs(body).items()})
        answer = self.answers.pop(0) if self.answers else None
        if callable(answer):
            answer()
            answer = None
        if isinstance(answer, bytes):
            request.wfile.write(answer)
            request.close_connection = True
            return
        token = {
            "access_token": f"token-{len(self.forms)}",
            "token_type": "Bearer",
            "expires_in": self.lifetime,
        }
        status, found = answer or (200, token)
        self._send(request, status, {**token, **found} if status == 200 else found)

    def _discover(self, request: BaseHTTPRequestHandler) -> None:
        tenant = f"{self.origin}/{request.path.split('/')[1]}"
        self._send(
            request,
            200,
            {
                "token_endpoint": f"{tenant}/oauth2/v2.0/token",
                "authorization_endpoint": f"{tenant}/oauth2/v2.0/authorize",
                "issuer": f"{tenant}/v2.0",
            },
        )

    def _send(self, request: BaseHTTPRequestHandler, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)
