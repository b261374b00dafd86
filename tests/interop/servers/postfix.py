"""Postfix: its master in a small root, delivering to one maildir."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from interop.install import ROOT, USERS
from interop.servers import certificates
from interop.servers.base import HOST, Arrival, Endpoint, Process, Server, free_ports
from interop.servers.maildir import Maildir

__all__ = ["Postfix"]

# What each listener has beside the defaults.
_LISTENERS = {
    "plain": "",
    "tls": "-o smtpd_tls_wrappermode=yes",
    "over SIZE": "-o message_size_limit=100000",
    "too many errors": "-o smtpd_hard_error_limit=3",
    "421": "-o smtpd_client_connection_count_limit=1",
    # OpenDKIM is started by the tests that need it; what comes from Dovecot passes it, too.
    "DKIM": "@milter",
    "relay": "@milter",
    "idle": "-o smtpd_timeout=1s",
    "five recipients": "-o smtpd_recipient_limit=5 -o smtpd_recipient_overshoot_limit=100",
    # One for each client: what is counted is a listener's messages in a minute.
    **{
        f"too many messages in a minute {client}": "-o smtpd_client_message_rate_limit=2"
        for client in ("SMTP", "Mailer", "AsyncMailer", "Django", "Flask")
    },
    **{
        f"{kind} {way}": f"-o smtpd_tls_chain_files=@/{kind.replace(' ', '-')}.chain {wrapper}"
        for kind in certificates.KINDS[1:]
        for way, wrapper in (("starttls", ""), ("tls", "-o smtpd_tls_wrappermode=yes"))
    },
    "TLS 1.1 starttls": "@old",
    "TLS 1.1 tls": "@old -o smtpd_tls_wrappermode=yes",
    # Answers STARTTLS with 220, and then has no cipher in common with any client.
    "no cipher starttls": "-o smtpd_tls_mandatory_ciphers=null "
    "-o smtpd_tls_ciphers=null -o smtpd_tls_protocols=TLSv1.2",
}
_OLD = (
    "-o smtpd_tls_protocols=TLSv1.1 -o smtpd_tls_mandatory_protocols=TLSv1.1 "
    "-o tls_medium_cipherlist=ALL:@SECLEVEL=0 -o smtpd_tls_ciphers=medium"
)

_MILTER = "-o smtpd_milters=inet:{host}:{port} -o milter_default_action=accept"

_MAIN = """
compatibility_level = 3.6
queue_directory = {base}/queue
data_directory = {base}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
default_privs = nobody
maillog_file = {base}/log
maillog_file_prefixes = /srv
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.test
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = static:any
virtual_mailbox_base = {base}
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{uid}
virtual_minimum_uid = 100
virtual_mailbox_limit = 0
mailbox_size_limit = 0
message_size_limit = 40000000
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access regexp:{base}/recipients, permit_mynetworks
header_checks = regexp:{base}/headers
local_header_rewrite_clients =
smtpd_client_event_limit_exceptions =
smtpd_error_sleep_time = 0
smtpd_tls_security_level = may
smtpd_tls_chain_files = {base}/good.chain
tls_preempt_cipherlist = no
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {auth}
"""

_MASTER = """
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - 4 virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""

_QUEUE = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
          "maildrop", "pid", "private", "public", "saved", "trace")  # fmt: skip


class Postfix(Server):
    """Postfix, with Dovecot to check passwords for it."""

    name = "Postfix"
    has_mailboxes = True
    mechanisms = (
        "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER",
    )  # fmt: skip
    counts_refusals = "always"
    lacks = {"too many messages": "it has no such limit"}  # noqa: RUF012

    def __init__(self, auth: str, relay: int) -> None:
        """``auth`` is the socket of Dovecot's service for others, as seen in the root.

        At the port ``relay`` it takes what is submitted to Dovecot.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="postfix-", dir=ROOT / "srv"))
        self._ports = dict(zip(_LISTENERS, free_ports(len(_LISTENERS)), strict=True))
        self._ports["relay"] = relay
        self.milter_port = free_ports(1)[0]
        self.endpoints = {name: Endpoint(port) for name, port in self._ports.items()}
        self._configure(auth)
        self._box = Maildir(self._folder / "box")

    def _configure(self, auth: str) -> None:
        folder = self._folder
        folder.chmod(0o755)
        base = "/" + str(folder.relative_to(ROOT))
        values = {"base": base, "auth": auth, "uid": USERS["mail"]}
        self.cafile = certificates.authority(folder)
        for kind in certificates.KINDS:
            cert, key = certificates.write(folder, kind)
            chain = folder / f"{kind}.chain".replace(" ", "-")
            chain.write_bytes(key.read_bytes() + cert.read_bytes())
        (folder / "main.cf").write_text(_MAIN.format(**values))
        listeners = "".join(
            f"{HOST}:{port} inet n - n - - smtpd {self._options(name, base)}\n"
            for name, port in self._ports.items()
        )
        (folder / "master.cf").write_text(listeners + _MASTER)
        (folder / "recipients").write_text(
            "/^refused/ 550 5.1.1 no such user\n/^later/ 450 4.2.1 come back later\n"
        )
        (folder / "headers").write_text("/^X-Refuse:/ REJECT not this\n")
        _owned(folder / "data", "postfix")
        (folder / "queue").mkdir()
        for name in _QUEUE:
            _owned(folder / "queue" / name, "root" if name == "pid" else "postfix")
        for name in ("new", "cur", "tmp"):
            _owned(folder / "box" / name, "mail")
        os.chown(folder / "box", USERS["mail"], USERS["mail"])

    def _options(self, listener: str, base: str) -> str:
        text = _LISTENERS.get(listener, "").replace("@old", _OLD).replace("@/", base + "/")
        return text.replace("@milter", _MILTER.format(host=HOST, port=self.milter_port))

    def start(self) -> None:
        base = "/" + str(self._folder.relative_to(ROOT))
        # After a crash, master takes over its old lock by itself.
        self._master = Process(
            "chroot", str(ROOT), "/usr/lib/postfix/sbin/master", "-d", "-c", base,
            log=self._folder / "output",
        )  # fmt: skip
        # One is enough: master listens everywhere before it starts anything.
        self._master.wait_for(self._ports["plain"])

    def stop(self, *, at_once: bool = False) -> None:
        self._master.end(at_once=at_once)

    def remove(self) -> None:
        """Forget all that it has stored."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def forget(self) -> None:
        self._box.forget()

    def stored(self) -> list[Arrival]:
        return self._box.stored()


def _owned(folder: Path, user: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, USERS[user], USERS[user])
