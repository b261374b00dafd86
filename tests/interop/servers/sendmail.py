"""sendmail, whose queue is read in place of mailboxes."""

from __future__ import annotations

import re
from pathlib import Path

from interop.servers import certificates
from interop.servers.base import (
    HOST,
    ONLY_UNKNOWN_COMMANDS,
    Arrival,
    Endpoint,
    Server,
    free_ports,
)
from interop.servers.private_root import PrivateRoot

__all__ = ["Sendmail"]

# One daemon for each: most limits hold for all of its listeners.
_DAEMONS = {
    "plain": "",
    "421": "FEATURE(`conncontrol', `nodelay', `terminate')dnl",
    "idle": "define(`confTO_COMMAND', `1s')dnl",
}

# The macros from which m4 makes sendmail's own configuration.
_CONFIG = """\
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `mail.test')dnl
define(`confDELIVERY_MODE', `queueonly')dnl
define(`confMAX_MESSAGE_SIZE', `40000000')dnl
define(`confMAX_RCPTS_PER_MESSAGE', `100')dnl
define(`confTO_IDENT', `0')dnl
define(`confREFUSE_LA', `999')dnl
define(`confQUEUE_LA', `999')dnl
define(`confAUTH_REALM', `mail.test')dnl
define(`confAUTH_MECHANISMS', `PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256')dnl
define(`confSERVER_CERT', `/etc/good.crt')dnl
define(`confSERVER_KEY', `/etc/good.key')dnl
define(`confCACERT', `/etc/good.crt')dnl
define(`confCACERT_PATH', `/etc')dnl
define(`confDONT_PROBE_INTERFACES', `true')dnl
define(`confPID_FILE', `/run/{number}.pid')dnl
define(`confSERVICE_SWITCH_FILE', `/etc/mail/service.switch')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`nocanonify')dnl
FEATURE(`promiscuous_relay')dnl
FEATURE(`accept_unqualified_senders')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`access_db', `hash -o /etc/mail/access')dnl
{limits}
{listeners}
MAILER(`smtp')dnl
LOCAL_CONFIG
Krefused regex -a@MATCH ^<?refused
Klater regex -a@MATCH ^<?later
HX-Refuse: $>+Refuse
LOCAL_RULESETS
SLocal_check_rcpt
R$*		$: $(refused $1 $)
R@MATCH	$#error $@ 5.1.1 $: "550 no such user"
R$*		$: $(later $1 $)
R@MATCH	$#error $@ 4.2.1 $: "450 come back later"
SRefuse
R$*		$#error $@ 5.6.0 $: "554 not this"
"""

_RECEIVED = re.compile(rb"Received: [^\n]*\n(?:\t[^\n]*\n)*")


class Sendmail(Server):
    """sendmail with Debian's limits. It delivers nothing: its queue is read."""

    name = "sendmail"
    mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256")
    recipients_per_message = 100
    lone_line_ends = "refused"
    adds_fields = True
    lacks: dict[str, str] = {  # noqa: RUF012
        "too many errors": ONLY_UNKNOWN_COMMANDS,
        "SMTPUTF8": "not announced",
        "too many messages": "it has no such limit",
        "too many messages in a minute": "it has no such limit",
    }

    def __init__(self) -> None:
        self._root = root = PrivateRoot("sendmail")
        ports = dict(zip((*_DAEMONS, "tls"), free_ports(len(_DAEMONS) + 1), strict=True))
        self.endpoints = {name: Endpoint(port) for name, port in ports.items()}
        certificates.write(root.folder / "etc")
        (root.folder / "etc/good.key").chmod(0o600)
        root.write(
            "/etc/sasl2/Sendmail.conf",
            "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: /etc/sasldb2\n",
        )
        root.run(
            "/usr/sbin/saslpasswd2", "-c", "-p", "-f", "/etc/sasldb2", "-u", "mail.test", "user",
            stdin="secret",
        )  # fmt: skip
        root.write("/etc/mail/service.switch", "hosts files\naliases files\n")
        for number, (name, limits) in enumerate(_DAEMONS.items()):
            listeners = f"DAEMON_OPTIONS(`Name=plain, Addr={HOST}, Port={ports[name]}')dnl"
            if name == "plain":
                listeners += (
                    f"\nDAEMON_OPTIONS(`Name=tls, Addr={HOST}, Port={ports['tls']}, Modify=s')dnl"
                )
            macros = _CONFIG.format(number=number, limits=limits, listeners=listeners)
            root.write(f"/etc/mail/{number}.cf", root.run("/usr/bin/m4", "-", stdin=macros))
        root.run(
            "/usr/libexec/sendmail/makemap", "-C", "/etc/mail/0.cf", "hash", "/etc/mail/access",
            stdin=f"ClientConn:{HOST} 1\n",
        )  # fmt: skip
        self._queue = root.make_folder("/var/spool/mqueue")
        self._read: dict[str, Arrival] = {}

    def start(self) -> None:
        self._daemons = [
            self._root.start(
                "/usr/libexec/sendmail/sendmail", "-bD", "-C", f"/etc/mail/{number}.cf"
            )
            for number in range(len(_DAEMONS))
        ]
        for daemon, name in zip(self._daemons, _DAEMONS, strict=True):
            daemon.wait_for(self.endpoints[name].port)

    def stop(self, *, at_once: bool = False) -> None:
        for daemon in self._daemons:
            daemon.end(at_once=at_once)

    def remove(self) -> None:
        """Delete everything that it has stored."""
        self._root.remove()

    def forget(self) -> None:
        for path in self._queue.iterdir():
            path.unlink()
        self._read.clear()

    def stored(self) -> list[Arrival]:
        # qf is named so when it is complete, and df before it.
        for path in self._queue.glob("qf*"):
            if path.name not in self._read:
                self._read[path.name] = _arrival(path)
        return list(self._read.values())


def _arrival(path: Path) -> Arrival:
    """What two files of the queue hold: qf the envelope and the header, df the body.

    In qf the first character of a line is its kind: R for a recipient, H for a field,
    with flags between question marks. In fields, a byte from 128 to 159 has 255 before it.
    """
    queued = path.read_bytes()
    recipients = re.findall(rb"(?m)^R[A-Z]*:<(.*)>$", queued)
    start = queued.index(b"\nH") + 1
    fields = re.sub(rb"(?m)^H\?[^?\n]*\?", b"", queued[start:].removesuffix(b".\n"))
    fields = fields[fields.index(b"Received: ") :]
    fields = re.sub(rb"\xff([\x80-\x9f\xff])", rb"\1", fields)
    received = _RECEIVED.match(fields)
    assert received is not None, queued
    body = path.with_name("df" + path.name[2:]).read_bytes()
    content = fields[received.end() :] + b"\n" + body
    return Arrival(tuple(one.decode() for one in recipients), content)
