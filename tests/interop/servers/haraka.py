"""Haraka, with a plugin of ours that decides about recipients and stores what arrives."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from interop.install import NODE
from interop.servers import certificates
from interop.servers.base import HOST
from interop.servers.own import PROGRAMS, Own

__all__ = ["Haraka"]

# Its files by their names. Each replaces the one of Haraka's that has the same name.
_FILES = {
    "me": "mail.test\n",
    "log.ini": "[main]\nlevel=error\n",
    "plugins": "tls\nauth/flat_file\nharaka-plugin-limit\npolicy\n",
    "auth_flat_file.ini": (
        "[core]\nmethods=PLAIN,LOGIN,CRAM-MD5\nconstrain_sender=false\n[users]\nuser=secret\n"
    ),
    "connection.ini": (
        "[main]\n[headers]\nadd_received=false\nmax_lines=1000\nmax_received=100\n"
        "[max]\nbytes=40000000\nmime_parts=1000\nline_length=512\ndata_line_length=992\n"
        "[message]\nhelo=welcome\nclose=closing connection\n[uuid]\nbanner_chars=0\n"
    ),
    "limit.ini": (
        "tarpit_delay=0\n[errors]\nenabled=true\nmax=3\n"
        "[unrecognized_commands]\nenabled=true\nmax=10\n"
    ),
}


class Haraka(Own):
    """Haraka, with its own plugins for TLS, logins and limits of errors."""

    name = "Haraka"
    mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5")
    counts_refusals = "pipelined"
    long_lines = "folded"
    lone_line_ends = "refused"
    ports = ("plain", "tls", "421", "idle")
    command = ("node", str(NODE / "node_modules/Haraka/bin/haraka"), "-c")
    lacks = {  # noqa: RUF012
        "too many messages": "it has no such limit",
        "too many messages in a minute": "it has no such limit",
    }

    def _without_trace(self, content: bytes) -> bytes:
        # After a login it adds this field at the beginning.
        return re.sub(rb"\AAuthentication-Results:.*\r\n(?:[ \t].*\r\n)*", b"", content)

    def _configure(self) -> Path:
        config, plugins = self._folder / "config", self._folder / "plugins"
        config.mkdir()
        plugins.mkdir()
        for name, text in _FILES.items():
            (config / name).write_text(text)
        cert, key = certificates.write(config)
        cert.rename(config / "tls_cert.pem")
        key.rename(config / "tls_key.pem")
        listen = ",".join(f"{HOST}:{port}" for port in self._ports.values())
        (config / "smtp.ini").write_text(
            f"listen={listen}\nnodes=0\nsmtps_port={self._ports['tls']}\n"
        )
        (config / "policy.json").write_text(
            json.dumps({"folder": str(self._folder / "mail"), "ports": self._ports})
        )
        shutil.copy(PROGRAMS / "haraka_policy.js", plugins / "policy.js")
        return self._folder
