"""OpenSMTPD, whose queue is read in place of mailboxes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from interop.servers import certificates
from interop.servers.base import HOST, Arrival, Endpoint, Server, free_ports
from interop.servers.private_root import PrivateRoot

__all__ = ["OpenSMTPD"]

_PORTS = ("plain", "tls", "refused content")

_CONFIG = """
pki mail.test cert "/etc/good.crt"
pki mail.test key "/etc/good.key"
table users file:/etc/users
smtp max-message-size "40M"
filter refused phase rcpt-to match rcpt-to regex "^<?refused" reject "550 5.1.1 no such user"
filter later phase rcpt-to match rcpt-to regex "^<?later" reject "450 4.2.1 come back later"
filter content proc-exec "/etc/refuse-content"
filter recipients chain {{ refused, later }}
filter all chain {{ refused, later, content }}
listen on {host} port {plain} tls pki mail.test auth-optional <users> filter recipients
listen on {host} port {tls} smtps pki mail.test auth-optional <users> filter recipients
listen on {host} port {refused} tls pki mail.test filter all
action hold relay host "smtp://{host}:9"
match from any for any action hold
"""

# Refuses at its end a message that has the field X-Refuse: see smtpd-filters(7).
_FILTER = r"""#!/bin/sh
refused=
while IFS= read -r line; do
    case $line in
    "config|ready")
        printf 'register|filter|smtp-in|%s\n' data-line commit
        printf 'register|ready\n'
        continue ;;
    esac
    rest=${line#filter|*|*|smtp-in|}
    phase=${rest%%|*} rest=${rest#*|}
    session=${rest%%|*} rest=${rest#*|}
    token=${rest%%|*} text=${rest#*|}
    case $phase in
    data-line)
        case $text in "X-Refuse:"*) refused=yes ;; esac
        printf 'filter-dataline|%s|%s|%s\n' "$session" "$token" "$text" ;;
    commit)
        answer=proceed
        [ "$refused" ] && answer="reject|554 5.6.0 not this"
        refused=
        printf 'filter-result|%s|%s|%s\n' "$session" "$token" "$answer" ;;
    esac
done
"""
_RECEIVED = re.compile(rb"Received: [^\n]*\n(?:\t[^\n]*\n)*")
_RECIPIENT = re.compile(r"(?m)^rcpt: (.*)$")


class OpenSMTPD(Server):
    """OpenSMTPD with its default limits. It delivers nothing: its queue is read."""

    name = "OpenSMTPD"
    # The build of Debian 12 lost its private key with OpenSSL 3: OpenSMTPD's issue 1171.
    announces_tls_in_vain = True
    messages_per_connection = 100
    counts_unknown_commands = False
    adds_fields = True
    lacks: dict[str, str] = {  # noqa: RUF012
        "STARTTLS": "announced, but no handshake succeeds; nothing is sent in clear",
        "implicit TLS": "no handshake succeeds in this build",
        "AUTH": "announced under TLS only, which does not work in this build",
        "SMTPUTF8": "not announced",
        "too many errors": "it has no such limit",
        "too many messages in a minute": "it has no such limit",
        "421": "it stops accepting connections, and closes none",
        "idle": "it closes after five minutes, which no setting shortens",
    }

    def __init__(self) -> None:
        self._root = root = PrivateRoot("opensmtpd")
        ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self.endpoints = {name: Endpoint(port) for name, port in ports.items()}
        certificates.write(root.folder / "etc")
        (root.folder / "etc/good.key").chmod(0o600)
        root.make_folder("/var/lib/opensmtpd/empty")
        password = root.run("/usr/libexec/opensmtpd/encrypt", "secret")
        root.write("/etc/users", f"user\t{password}")
        root.write("/etc/refuse-content", _FILTER, mode=0o755)
        values = {name.partition(" ")[0]: port for name, port in ports.items()}
        root.write("/etc/smtpd.conf", _CONFIG.format(host=HOST, **values))
        self._queue = root.folder / "var/spool/smtpd/queue"
        self._read: dict[str, Arrival] = {}

    def start(self) -> None:
        self._daemon = self._root.start("/usr/sbin/smtpd", "-d", "-P", "mda", "-P", "mta")
        for endpoint in self.endpoints.values():
            self._daemon.wait_for(endpoint.port)

    def stop(self, *, at_once: bool = False) -> None:
        self._daemon.end(at_once=at_once)

    def remove(self) -> None:
        """Delete everything that it has stored."""
        self._root.remove()

    def forget(self) -> None:
        for path in self._queue.glob("*/*"):
            shutil.rmtree(path)
        self._read.clear()

    def stored(self) -> list[Arrival]:
        # A folder per message appears when the message is complete: its content, and a file
        # for each recipient.
        for folder in self._queue.glob("*/*"):
            if folder.name not in self._read:
                self._read[folder.name] = _arrival(folder)
        return list(self._read.values())


def _arrival(folder: Path) -> Arrival:
    content = (folder / "message").read_bytes()
    received = _RECEIVED.match(content)
    assert received is not None, content[:200]
    recipients = [
        _RECIPIENT.findall(path.read_text())[0]
        for path in folder.iterdir()
        if path.name != "message"
    ]
    return Arrival(tuple(recipients), content[received.end() :])
