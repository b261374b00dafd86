"""The applications in docs/async.md are run."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from support.server import MailServer

PAGE = Path(__file__).parents[2] / "docs" / "async.md"
if not PAGE.is_file():
    pytest.skip("the documentation is not here", allow_module_level=True)


def application(name: str, server: MailServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The object ``app`` of the sample, whose mail goes to the server."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    [code] = [block for block in blocks if block.startswith(f"# {name}.py\n")]
    monkeypatch.setenv("MAIL_URL", f"smtp://{server.host}:{server.port}")
    # FastAPI looks annotations up in the function's module: no `from __future__` here.
    names: dict[str, Any] = {"__name__": name}
    exec(compile(code, name, "exec", dont_inherit=True), names)  # noqa: S102
    return names["app"]


def check(mail_server: MailServer, answers: list[Any]) -> None:
    assert answers == [{"accepted": ["ada@example.com"]}] * 3
    assert len(mail_server.messages) == 3
    assert mail_server.connections == 1
    mail_server.wait(lambda: mail_server.open_connections == 0)


def test_fastapi(mail_server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi", reason="FastAPI is not installed here")
    httpx = pytest.importorskip("httpx", reason="httpx is not installed here")
    app = application("fastapi_app", mail_server, monkeypatch)

    async def main() -> list[Any]:
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            return [(await client.post("/orders")).json() for _ in range(3)]

    check(mail_server, asyncio.run(main()))


def test_quart(mail_server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("quart", reason="Quart is not installed here")
    app = application("quart_app", mail_server, monkeypatch)

    async def main() -> list[Any]:
        async with app.test_app() as running:
            client = running.test_client()
            return [await (await client.post("/orders")).get_json() for _ in range(3)]

    check(mail_server, asyncio.run(main()))
