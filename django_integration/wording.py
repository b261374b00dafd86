"""What the options are called in a project's settings, for the texts of errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailbackends.integration import Wording

__all__ = ["ATTRIBUTES", "wording_for"]

ATTRIBUTES = {
    "host": "EMAIL_HOST",
    "port": "EMAIL_PORT",
    "username": "EMAIL_HOST_USER",
    "password": "EMAIL_HOST_PASSWORD",
    "use_tls": "EMAIL_USE_TLS",
    "use_ssl": "EMAIL_USE_SSL",
    "timeout": "EMAIL_TIMEOUT",
    "ssl_keyfile": "EMAIL_SSL_KEYFILE",
    "ssl_certfile": "EMAIL_SSL_CERTFILE",
}
"""The attributes of Django's own backend, each with its setting."""

ARGUMENTS = "the arguments"


def wording_for(
    options: Mapping[str, Any], origin: Mapping[str, str], alias: str | None
) -> Wording:
    """The words for options of which ``origin`` says where each was set.

    ``"EMAIL_HOST"``, ``"OPTIONS"``, ``"MAILBACKENDS"``, ``"OPTIONS['url']"`` or the like.
    """
    place = "OPTIONS" if alias is not None else "MAILBACKENDS"
    names = {} if alias is not None else dict(ATTRIBUTES)
    names |= {name: _setting(name, where) for name, where in origin.items()}
    security = origin.get("use_tls") or origin.get("use_ssl") or ""
    if security.endswith("['url']"):
        tls = {
            "starttls": f"write smtp+starttls:// in {security}",
            "tls": f"write smtps:// in {security}",
        }
        any_tls = f"write smtp+starttls:// or smtps:// in {security}"
    elif security.endswith("['security']"):
        tls = {value: f"set {security} to {value!r}" for value in ("starttls", "tls")}
        any_tls = f"set {security} to 'starttls' or 'tls'"
    else:
        starttls, implicit = (
            names.get(name) or f"{place}[{name!r}]" for name in ("use_tls", "use_ssl")
        )
        tls = {
            "starttls": f"set {starttls} = True"
            + f" and {implicit} = False" * bool(options.get("use_ssl")),
            "tls": f"set {implicit} = True"
            + f" and {starttls} = False" * bool(options.get("use_tls")),
        }
        any_tls = f"set {starttls} or {implicit} to True"
    user, password = (names.get(n) or f"{place}[{n!r}]" for n in ("username", "password"))
    if user.endswith("['url']") or (security.endswith("['url']") and "username" not in origin):
        user, password = f"the user name in {security}", f"the password in {security}"
    return Wording(
        use_starttls=tls["starttls"],
        use_tls=tls["tls"],
        use_any_tls=any_tls,
        log_in=f"set {user} and {password}",
        log_out=f"remove {user} and {password}",
        names=names,
        pattern=f"{place}['{{}}']",
    )


def _setting(name: str, where: str) -> str:
    if where in ("OPTIONS", "MAILBACKENDS"):
        return f"{where}[{name!r}]"
    if where.endswith("]"):
        return f"{name} in {where}"
    return name if where == ARGUMENTS else where
