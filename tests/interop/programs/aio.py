"""aiosmtpd as a program: ``python aio.py CONFIG``, as `interop.servers.own` writes it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import ssl
import sys
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

numbers = itertools.count()


class Keeper:
    """The handler. It stores each message as a file: a line of JSON, then the content."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("refused"):
            return "550 5.1.1 no such user"
        if address.startswith("later"):
            return "450 4.2.1 come back later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        if b"X-Refuse:" in content.partition(b"\r\n\r\n")[0]:
            return "554 5.6.0 not this"
        head = {"recipients": envelope.rcpt_tos}
        name = f"{os.getpid()}-{next(numbers)}"
        part = self.folder / f"{name}.part"
        part.write_bytes(json.dumps(head).encode() + b"\n" + content)
        part.rename(self.folder / f"{name}.eml")
        return "250 2.0.0 Ok"


def check(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
) -> AuthResult:
    is_right = isinstance(data, LoginPassword) and data == LoginPassword(b"user", b"secret")
    return AuthResult(success=is_right, handled=False)


async def serve(config: dict[str, Any]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(config["cert"], config["key"])
    keeper = Keeper(Path(config["folder"]))
    loop = asyncio.get_running_loop()
    for name, port in config["ports"].items():
        options: dict[str, Any] = {"data_size_limit": 40_000_000}
        if name == "over SIZE":
            options["data_size_limit"] = 100_000
        if name == "too many messages":
            options["command_call_limit"] = {"MAIL": 2, "*": 1000}
        if name == "idle":
            options["timeout"] = 1

        def conversation(options: dict[str, Any] = options) -> SMTP:
            return SMTP(
                keeper,
                hostname="mail.test",
                enable_SMTPUTF8=True,
                tls_context=context,
                auth_require_tls=False,
                authenticator=check,
                loop=loop,
                **options,
            )

        await loop.create_server(
            conversation, "127.0.0.1", port, ssl=context if name == "tls" else None
        )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text())))
