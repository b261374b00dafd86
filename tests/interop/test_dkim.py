"""OpenDKIM, as a milter of Postfix, verifies our signatures; also what Dovecot relayed before.

MAILBACKENDS_TESTS_DKIM_MESSAGES is how many messages go each way.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="DKIM needs the extra dkim")

from interop.servers.all import AllServers
from interop.servers.base import HOST, Process
from interop.servers.postfix import Postfix
from mailbackends import Mailer, Receipt
from support.dkim import ED25519, FORMS, RSA, key_for, records
from support.generated import generated

COUNT = int(os.environ.get("MAILBACKENDS_TESTS_DKIM_MESSAGES", "100"))
KEYS = [
    (key_for(selector=f"r{number}", canonicalization=form),
     key_for(selector=f"e{number}", algorithm=ED25519, canonicalization=form))
    for number, form in enumerate(FORMS)
]  # fmt: skip
assert KEYS[0][0].signing_key.algorithm == RSA


@pytest.fixture(scope="module")
def postfix(all_servers: AllServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postfix]:
    """Postfix, with OpenDKIM behind two of its ports."""
    program = shutil.which("opendkim", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        assert not os.environ.get("MAILBACKENDS_TESTS_OPENDKIM"), "opendkim is not installed"
        pytest.skip("opendkim is not installed here")
    server = all_servers.server("Postfix")
    assert isinstance(server, Postfix)
    folder: Path = tmp_path_factory.mktemp("opendkim")
    published = records(*(key for pair in KEYS for key in pair))
    (folder / "keys").write_text("".join(f"{name} {text}\n" for name, text in published.items()))
    (folder / "conf").write_text(
        f"Mode v\nTestPublicKeys {folder}/keys\nMinimumKeyBits 1024\nSyslog no\n"
        f"Socket inet:{server.milter_port}@{HOST}\nInternalHosts 192.0.2.1\nExternalIgnoreList "
        f"192.0.2.1\nAuthservID judge\nAlwaysAddARHeader yes\nRequireSafeKeys no\n"
    )
    milter = Process(program, "-f", "-x", str(folder / "conf"), log=folder / "output")
    milter.wait_for(server.milter_port)
    yield server
    milter.end()


@pytest.mark.parametrize("way", ["Postfix", "Dovecot submission"])
def test_opendkim_verifies_what_arrives(
    postfix: Postfix, way: str, all_servers: AllServers, cafile: str, tmp_path: Path
) -> None:
    server = all_servers.server(way)
    options: dict[str, Any] = {"port": server.endpoint("DKIM").port}
    if way != "Postfix":
        options |= {"username": "user", "password": "secret", "security": "starttls"}
        options |= {"ssl_cafile": cafile}
    before = len(postfix.stored())
    share = COUNT // len(KEYS)
    for number, pair in enumerate(KEYS):
        with Mailer(host=HOST, dkim=pair, **options) as mailer:
            # Dovecot does not relay an international header.
            for outcome in mailer.send_messages(generated(number, share, tmp_path)):
                assert isinstance(outcome, Receipt), outcome
    deadline = time.monotonic() + 120
    wanted = share * len(KEYS)
    while len(stored := postfix.stored()[before:]) < wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(stored) == wanted
    found = [re.findall(rb"\bdkim=(\w+)", each.content.partition(b"\n\n")[0]) for each in stored]
    assert found == [[b"pass", b"pass"]] * wanted
