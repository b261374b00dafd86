"""The servers in an application's ``MAIL_`` configuration, as `mailbackends.Options`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection, Mapping
from typing import Any

from flask_integration.errors import ConfigurationWarning
from mailbackends import ConfigurationError, Options
from mailbackends.integration import Wording

__all__ = ["OPTION_OF", "client_certificate", "count", "flag", "read_servers", "warn", "words"]

# Where and how to deliver: the options of `mailbackends.Mailer` under their own names, and
# Flask-Mail's name for the host.
OPTION_OF = {name.upper(): name for name in Options.known()} | {"SERVER": "host"}

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_CERTIFICATE = ("ssl_certfile", "ssl_keyfile")
_TLS = ("ssl_context", "ssl_cafile", *_CERTIFICATE)


def read_servers(values: Mapping[str, Any], label: str, max_emails: int | None) -> list[Options]:
    """Return the options of each server: one per URL, or of one server if there is no URL.

    Raises:
        ConfigurationError: a value cannot be used, or contradicts another.
    """
    options = {OPTION_OF[name]: values[name] for name in _given(values) if name in OPTION_OF}
    for one, two in (("SERVER", "HOST"), ("MAX_EMAILS", "MAX_MESSAGES_PER_CONNECTION")):
        if {one, two} <= _given(values) and str(values[one]) != str(values[two]):
            raise ConfigurationError(
                f"{label}{one} and {label}{two} are two names of one setting and differ: remove one"
            )
    if values.get("DEADLINE", "") is None:
        options["deadline"] = None  # the only option that None turns off
    if security := _security(values, label):
        options["security"] = security
    if max_emails is not None:
        options.setdefault("max_messages_per_connection", max_emails)
    if "auth_mechanisms" in options:
        options["auth_mechanisms"] = words(options["auth_mechanisms"])
    # URLs contain no white space, so it can separate several in one environment variable.
    urls = words(values.get("URL"), separators="")
    if others := [type(url).__name__ for url in urls if not isinstance(url, str)]:
        raise ConfigurationError(f"{label}URL must be a URL or a list of URLs, got {others[0]}")
    if urls and (clash := sorted({"HOST", "PORT", "SECURITY", "SERVER"} & _given(values))):
        raise ConfigurationError(
            f"{label}URL and {label}{clash[0]} cannot both be set: put it into the URL"
        )
    for name in options.keys() & {"username", "password"}:
        options[name] = _text_of_number(label + name.upper(), options[name])
    if not urls:
        _complete_login(options, label)
    try:
        servers = [Options.parse_url(url) for url in urls] or [{}]
    except ConfigurationError as error:
        raise ConfigurationError(f"{label}URL: {error}") from None
    with_tls = [(given | options).get("security", "none") != "none" for given in servers]
    # TLS files go only to servers that use TLS. If none does, `client_certificate` warns.
    unused = _TLS if any(with_tls) else _CERTIFICATE
    clear = {name: value for name, value in options.items() if name not in unused}
    found = [
        Options.from_mapping(
            given
            | (options if has_tls else clear)
            | {"wording": _wording(values, label, in_url=given.keys() - options.keys())}
        )
        for given, has_tls in zip(servers, with_tls, strict=True)
    ]
    for server in found:
        _check_port(server)
    return found


def _check_port(options: Options) -> None:
    """Warn of a port that is the other kind of TLS's by RFC 8314."""
    fix = ""
    if options.socket_path is None and options.port == 465 and options.security != "tls":
        used = "STARTTLS" if options.security == "starttls" else "no TLS"
        fix = (
            f"{{port}} is 465, where servers expect TLS from the first byte, and {used} is "
            "used: {use_tls}, or set {port} to 587 for STARTTLS"
        )
    elif options.port == 587 and options.security == "tls":
        fix = (
            "{port} is 587, where servers expect STARTTLS, and TLS from the first byte is used: "
            "{use_starttls}, or set {port} to 465"
        )
    if fix:
        warn(options.wording.render(fix))


def _wording(values: Mapping[str, Any], label: str, in_url: Collection[str]) -> Wording:
    """Return what the options are called in this configuration, for the texts of errors."""
    names = {"host": f"{label}SERVER"} | {name: f"{name} in {label}URL" for name in in_url}
    if values.get("URL"):
        url = f"{label}URL"
        return Wording(
            use_starttls=f"write smtp+starttls:// in {url}",
            use_tls=f"write smtps:// in {url}",
            use_any_tls=f"write smtp+starttls:// or smtps:// in {url}",
            log_in=f"set {label}USERNAME and {label}PASSWORD, or write both into {url}",
            log_out=f"leave user name and password out of {url}",
            names={"host": f"the host in {url}", "port": f"the port in {url}"} | names,
            pattern=f"{label}{{upper}}",
        )
    starttls, tls = (f"set {label}USE_{name} = True" for name in ("TLS", "SSL"))
    not_starttls, not_tls = (f"{label}USE_{name} = False" for name in ("TLS", "SSL"))
    if values.get("SECURITY"):
        starttls, tls = (f"set {label}SECURITY = {name!r}" for name in ("starttls", "tls"))
    return Wording(
        use_starttls=f"{starttls} and {not_tls}" if _given_true(values, "USE_SSL") else starttls,
        use_tls=f"{tls} and {not_starttls}" if _given_true(values, "USE_TLS") else tls,
        use_any_tls=f"{starttls}, or {tls.removeprefix('set ')}",
        log_in=f"set {label}USERNAME and {label}PASSWORD",
        log_out=f"remove {label}USERNAME and {label}PASSWORD",
        names=names,
        pattern=f"{label}{{upper}}",
    )


def _given_true(values: Mapping[str, Any], name: str) -> bool:
    return bool(flag(name, values.get(name)))


def _given(values: Mapping[str, Any]) -> set[str]:
    # An environment variable that is not set often arrives as None or as an empty string.
    return {name for name, value in values.items() if value is not None and value != ""}


def _text_of_number(key: str, value: Any) -> Any:
    """Return the digits of an integer: ``from_prefixed_env`` reads passwords as JSON.

    Raises:
        ConfigurationError: it is another JSON type, from which the text cannot be restored.
    """
    if isinstance(value, bool | float | list | dict):
        kind = type(value).__name__
        value = None  # not in the variables of this frame
        raise ConfigurationError(
            f"{key} must be text, got {kind}: Flask reads environment variables as JSON, so put "
            f"quotes into the value: FLASK_{key}='\"...\"'"
        )
    return str(value) if isinstance(value, int) else value


def _security(values: Mapping[str, Any], label: str) -> str | None:
    use_tls = flag(f"{label}USE_TLS", values.get("USE_TLS"))
    use_ssl = flag(f"{label}USE_SSL", values.get("USE_SSL"))
    if use_tls and use_ssl:
        raise ConfigurationError(
            f"{label}USE_TLS and {label}USE_SSL cannot both be true: USE_TLS is STARTTLS "
            "(port 587), USE_SSL is TLS from the first byte (port 465); set one to False"
        )
    wanted = "starttls" if use_tls else "tls" if use_ssl else None
    if wanted and values.get("URL"):
        raise ConfigurationError(
            f"{label}USE_TLS and {label}USE_SSL cannot be combined with {label}URL: "
            "remove them, and write smtp+starttls:// or smtps://"
        )
    if wanted and (given := values.get("SECURITY")) not in (None, "", wanted):
        raise ConfigurationError(
            f"{label}SECURITY={given!r} contradicts {label}USE_TLS or {label}USE_SSL: remove those"
        )
    return wanted


def client_certificate(values: Mapping[str, Any], label: str) -> dict[str, str]:
    """Return the client's certificate where no server uses TLS, with a warning.

    Flask-Mailman accepts it silently. It takes effect if `use_tls` is set later.
    """
    found = {n: values[n.upper()] for n in _CERTIFICATE if n.upper() in _given(values)}
    if found:
        keys = " and ".join(f"{label}{name.upper()}" for name in found)
        warn(f"{keys} has no effect without TLS: set {label}USE_TLS or {label}USE_SSL")
    return found


def _complete_login(options: dict[str, Any], label: str) -> None:
    """Warn if only one of user name and password is set: no login then, as in Flask-Mail."""
    if "token_provider" in options or options.get("oauth") or options.get("auth_mechanisms"):
        return
    if ("username" in options) != ("password" in options):
        present, missing = ("USERNAME", "PASSWORD")
        if "password" in options:
            present, missing = missing, present
        warn(f"{label}{present} is set but {label}{missing} is not, so no login is made: set both")
        options.pop("username", None)
        options.pop("password", None)


def flag(key: str, value: object) -> bool | None:
    """Return True, False, or None if nothing is set. Text is parsed: "false" is False.

    Raises:
        ConfigurationError: the value is neither true nor false.
    """
    if value is None or value == "":
        return None
    text = str(value).strip().lower()
    if text in _TRUE | _FALSE:
        return text in _TRUE
    raise ConfigurationError(f"{key} must be True or False, got {value!r}")


def warn(text: str) -> None:
    """Issue a ConfigurationWarning for the line in the application that set up mail."""
    package = __name__.partition(".")[0]
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, ConfigurationWarning, stacklevel=level)


def words(value: Any, *, separators: str = ",") -> tuple[str, ...]:
    """Return the strings in a list, or in a text separated by white space or commas."""
    if isinstance(value, str):
        for separator in separators:
            value = value.replace(separator, " ")
        return tuple(value.split())
    try:
        return tuple(value or ())
    except TypeError:
        return (value,)  # Options reports what is wrong with it


def count(key: str, value: object) -> int | None:
    """Return a positive integer, or None if nothing is set.

    Raises:
        ConfigurationError: the value is not a positive integer.
    """
    if value is None or value == "":
        return None
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if number < 1:
        raise ConfigurationError(f"{key} must be a positive integer or None, got {value!r}")
    return number
