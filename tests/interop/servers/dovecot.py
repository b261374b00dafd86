"""Dovecot: LMTP at a port and at a Unix socket, submission, and passwords for Postfix."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

from interop.install import ROOT, USERS
from interop.servers import certificates
from interop.servers.base import (
    HOST,
    ONLY_UNKNOWN_COMMANDS,
    Arrival,
    Endpoint,
    Process,
    Server,
    free_ports,
    wait_until,
)
from interop.servers.maildir import Maildir

__all__ = ["Dovecot", "DovecotLMTP", "DovecotSubmission", "token"]

_KEY = b"the key with which these tests sign their tokens"

_CONFIG = """
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
protocols = lmtp submission
listen = {host}
hostname = mail.test
ssl = yes
ssl_cert = <{base}/good.crt
ssl_key = <{base}/good.key
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 xoauth2 oauthbearer
auth_failure_delay = 0
auth_username_format = %n
mail_location = maildir:{base}/box
mail_uid = {uid}
mail_gid = {uid}
first_valid_uid = 1
recipient_delimiter = +
lmtp_save_to_detail_mailbox = no
lmtp_hdr_delivery_address = original

mail_fsync = never
protocol submission {{
  mail_max_userip_connections = 3
}}
protocol lmtp {{
  mail_plugins = quota
}}
plugin {{
  quota_vsizes = yes
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
  inet_listener lmtps {{
    port = {lmtps}
    ssl = yes
  }}
  unix_listener {base}/lmtp {{
    mode = 0666
  }}
}}
service submission-login {{
  inet_listener submission {{
    port = {submission}
  }}
  inet_listener submissions {{
    port = {submissions}
    ssl = yes
  }}
}}
service auth {{
  unix_listener {base}/auth {{
    mode = 0666
  }}
}}
submission_relay_host = {host}
submission_relay_port = {relay}
submission_max_mail_size = 40M
passdb {{
  driver = passwd-file
  args = {base}/users
  mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
}}
passdb {{
  driver = oauth2
  args = {base}/oauth2
  mechanisms = xoauth2 oauthbearer
}}
userdb {{
  driver = passwd-file
  args = {base}/users
}}
"""

_OAUTH = """
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={base}/keys/
username_attribute = sub
"""

_PORTS = ("lmtp", "lmtps", "submission", "submissions")
PEOPLE = ("user", "a", "b", "c", *(f"p{number}" for number in range(1000)))
# Mailboxes that refuse: one for good, one that cannot be opened now, one for small mail only.
_SPECIAL = (
    "full:{PLAIN}x::::::userdb_quota=count:User userdb_quota_rule=*:bytes=1\n"
    "later:{PLAIN}x::::::userdb_mail=maildir:/dev/null/box\n"
    "small:{PLAIN}x::::::userdb_quota=count:User userdb_quota_max_mail_size=100k\n"
)


def token(user: str) -> str:
    """An access token that Dovecot takes, for an hour: a JSON Web Token signed with HS256."""

    def packed(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    now = int(time.time())
    head = packed(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    body = packed(json.dumps({"sub": user, "iat": now - 9, "exp": now + 3600}).encode())
    signed = head + b"." + body
    signature = packed(hmac.digest(_KEY, signed, hashlib.sha256))
    return (signed + b"." + signature).decode()


class Dovecot:
    """All services in one process tree; `Server`s are its views."""

    def __init__(self, relay: int) -> None:
        """``relay`` is the port of the server that gets what is submitted."""
        self.folder = folder = Path(tempfile.mkdtemp(prefix="dovecot-", dir=ROOT / "srv"))
        folder.chmod(0o755)
        self.base = base = "/" + str(folder.relative_to(ROOT))
        self.ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self.box = Maildir(folder / "box")
        certificates.write(folder)
        self.cafile = certificates.authority(folder)
        values = {"base": base, "host": HOST, "uid": USERS["mail"], "relay": relay, **self.ports}
        (folder / "dovecot.conf").write_text(_CONFIG.format(**values))
        (folder / "oauth2").write_text(_OAUTH.format(**values))
        keys = folder / "keys/default/HS256"
        keys.mkdir(parents=True)
        (keys / "default").write_bytes(base64.b64encode(_KEY))
        (folder / "users").write_text(
            "".join(f"{name}:{{PLAIN}}secret:::::\n" for name in PEOPLE) + _SPECIAL
        )
        (folder / "box").mkdir()
        os.chown(folder / "box", USERS["mail"], USERS["mail"])
        self._users = 0

    def start(self) -> None:
        """Listen everywhere."""
        self._master = Process(
            "chroot", str(ROOT), "/usr/sbin/dovecot", "-F", "-c", f"{self.base}/dovecot.conf",
            log=self.folder / "output",
        )  # fmt: skip
        for port in self.ports.values():
            self._master.wait_for(port)
        self._master.wait_for(path=str(self.folder / "lmtp"))

    def stop(self, *, at_once: bool = False) -> None:
        """End all services."""
        self._master.end(at_once=at_once)
        # A killed one leaves it, and the next one would think that it still runs.
        (self.folder / "run/master.pid").unlink(missing_ok=True)

    def hang_up(self, process: str) -> None:
        """End the processes that hold connections, as an administrator does."""
        ending = set(self._master.descendants(process))
        asked = time.monotonic()

        def are_gone() -> bool:
            # A process that is starting misses the signal; new ones may start meanwhile.
            left = ending.intersection(self._master.descendants(process))
            patient = time.monotonic() < asked + 5
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM if patient else signal.SIGKILL)
            return not left

        wait_until(are_gone, f"the end of {process}")

    def remove(self) -> None:
        """Forget all that it has stored."""
        shutil.rmtree(self.folder, ignore_errors=True)


class _View(Server):
    process: str
    has_mailboxes = True

    def __init__(self, dovecot: Dovecot) -> None:
        self.dovecot = dovecot

    def start(self) -> None:
        self.dovecot.start()

    def stop(self, *, at_once: bool = False) -> None:
        self.dovecot.stop(at_once=at_once)


class DovecotLMTP(_View):
    """Local delivery."""

    protocol = "lmtp"
    process = "lmtp"
    local_parts = {"refused content": "full", "over SIZE": "small"}  # noqa: RUF012

    def __init__(self, dovecot: Dovecot, *, is_unix: bool) -> None:
        super().__init__(dovecot)
        self.name = f"Dovecot LMTP ({'Unix' if is_unix else 'TCP'})"
        self.lacks = {
            "AUTH": "LMTP has no login",
            "SMTPUTF8": "not announced",
            "421": "LMTP reports no limit of connections",
            "too many errors": ONLY_UNKNOWN_COMMANDS,
            "too many messages": "it has no such limit",
            "too many messages in a minute": "it has no such limit",
        }
        if is_unix:
            self.lacks["implicit TLS"] = "a Unix socket of Dovecot is never under TLS at once"
            self.endpoints = {"plain": Endpoint(path=str(dovecot.folder / "lmtp"))}
        else:
            self.endpoints = {
                "plain": Endpoint(dovecot.ports["lmtp"]),
                "tls": Endpoint(dovecot.ports["lmtps"]),
            }

    def stored(self) -> list[Arrival]:
        return self.dovecot.box.stored()

    def forget(self) -> None:
        self.dovecot.box.forget()


class DovecotSubmission(_View):
    """Submission, which hands all mail on to a relay while its client waits."""

    name = "Dovecot submission"
    needs_login = True
    process = "submission"
    room = 3
    mechanisms = (
        "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER",
    )  # fmt: skip

    def __init__(self, dovecot: Dovecot, relay: Server) -> None:
        super().__init__(dovecot)
        self._relay = relay
        self.lacks = {
            "SMTPUTF8": "not announced",
            "too many errors": ONLY_UNKNOWN_COMMANDS,
            "too many messages": "it has no such limit",
            "too many messages in a minute": "it has no such limit",
        }
        self.endpoints = {
            "plain": Endpoint(dovecot.ports["submission"], user="user"),
            "tls": Endpoint(dovecot.ports["submissions"], user="user"),
        }

    def stored(self) -> list[Arrival]:
        return self._relay.stored()

    def forget(self) -> None:
        self._relay.forget()
