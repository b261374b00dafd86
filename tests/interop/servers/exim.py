"""Exim, delivering to one maildir."""

from __future__ import annotations

from interop.servers import certificates
from interop.servers.base import (
    HOST,
    ONLY_UNKNOWN_COMMANDS,
    Arrival,
    Endpoint,
    Process,
    Server,
    free_ports,
)
from interop.servers.maildir import Maildir
from interop.servers.private_root import PrivateRoot

__all__ = ["Exim"]

# The limits of connections, and of messages on one, hold for a whole daemon.
_DAEMONS = {
    "plain": "",
    "421": "smtp_accept_max = 1",
    "too many messages": "smtp_accept_max_per_connection = 3",
}
_PORTS = (*_DAEMONS, "tls", "over SIZE", "idle")

_CONFIG = """
{limits}
primary_hostname = mail.test
spool_directory = {spool}
log_file_path = {spool}/log-%s
pid_file_path = {spool}/pid
local_interfaces = {host}
daemon_smtp_ports = {ports}
tls_on_connect_ports = {tls}
tls_advertise_hosts = *
tls_certificate = /etc/good.crt
tls_privatekey = /etc/good.key
# Deliver as the same user who receives: no privileges are needed.
deliver_drop_privilege = true
host_lookup =
rfc1413_hosts =
received_header_text =
smtputf8_advertise_hosts = *
prdr_enable = true
message_size_limit = ${{if eq{{$received_port}}{{{small}}}{{100000}}{{40M}}}}
smtp_receive_timeout = ${{if eq{{$received_port}}{{{idle}}}{{1s}}{{5m}}}}
smtp_max_unknown_commands = 3
smtp_accept_queue_per_connection = 0
recipients_max = 0
acl_smtp_mail = accept
acl_smtp_rcpt = recipient
acl_smtp_data = content
acl_smtp_vrfy = deny

begin acl
recipient:
  deny  local_parts = ^refused
        message = 550 5.1.1 no such user
  defer local_parts = ^later
        message = 450 4.2.1 come back later
  accept
content:
  deny  condition = ${{if def:h_X-Refuse:}}
        message = 554 5.6.0 not this
  accept

begin routers
all:
  driver = accept
  transport = box

begin transports
box:
  driver = appendfile
  directory = /var/box
  create_directory = true
  maildir_format
  batch_max = 100000
  envelope_to_add = true
  return_path_add = true

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if and{{{{eq{{$auth2}}{{user}}}}{{eq{{$auth3}}{{secret}}}}}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and{{{{eq{{$auth1}}{{user}}}}{{eq{{$auth2}}{{secret}}}}}}}}
  server_set_id = $auth1
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${{if eq{{$auth1}}{{user}}{{secret}}fail}}
  server_set_id = $auth1
"""


class Exim(Server):
    """Exim with its default limits, and a second one with stricter limits."""

    name = "Exim"
    mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5")
    messages_per_connection = 3
    lacks = {  # noqa: RUF012
        "too many errors": ONLY_UNKNOWN_COMMANDS,
        "too many messages in a minute": "it has no such limit",
    }

    def __init__(self) -> None:
        self._root = root = PrivateRoot("exim")
        self._ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self.endpoints = {name: Endpoint(port) for name, port in self._ports.items()}
        certificates.write(root.folder / "etc")
        self._box = Maildir(root.make_folder("/var/box", "Debian-exim"))
        for number, (name, limits) in enumerate(_DAEMONS.items()):
            spool = f"/var/spool/exim{number}"
            root.make_folder(spool, "Debian-exim")
            others = ("tls", "over SIZE", "idle") if name == "plain" else ()
            root.write(
                f"/etc/exim{number}.conf",
                _CONFIG.format(
                    limits=limits, spool=spool, host=HOST, tls=self._ports["tls"],
                    ports=" : ".join(str(self._ports[one]) for one in (name, *others)),
                    small=self._ports["over SIZE"], idle=self._ports["idle"],
                ),
            )  # fmt: skip

    def start(self) -> None:
        self._daemons: list[Process] = [
            self._root.start("/usr/sbin/exim4", "-C", f"/etc/exim{number}.conf", "-bdf", "-q5s")
            for number in range(len(_DAEMONS))
        ]
        for daemon, name in zip(self._daemons, _DAEMONS, strict=True):
            daemon.wait_for(self._ports[name])

    def stop(self, *, at_once: bool = False) -> None:
        for daemon in self._daemons:
            daemon.end(at_once=at_once)

    def remove(self) -> None:
        """Delete everything that it has stored."""
        self._root.remove()

    def forget(self) -> None:
        self._box.forget()

    def stored(self) -> list[Arrival]:
        return self._box.stored()
