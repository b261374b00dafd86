"""The mailbox of this process, made from the setting ``MAILBACKENDS_MAILBOX``::

MAILBACKENDS_MAILBOX = {
    "path": BASE_DIR / "mailbox.sqlite3",  # default: in memory
    "keep": 1000,                          # number of messages
    "smtp_port": 1025,                     # default: any free port
    "hosts": ["shop.test"],                # host names allowed in addition to loopback's
    "outside_debug": False,                # True: allow it with DEBUG = False
}
"""

from __future__ import annotations

import errno
import threading
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import autodiscover_modules

from django_integration.errors import SettingsError
from mailbackends.integration import nearest
from mailbackends.mailbox import Mailbox

__all__ = ["close_mailbox", "get_mailbox", "is_allowed"]

NAME = "MAILBACKENDS_MAILBOX"
_KNOWN = ("path", "keep", "smtp_port", "hosts", "outside_debug")
_lock = threading.Lock()
_made: list[Mailbox] = []  # at most one


def is_allowed() -> bool:
    """True if DEBUG or ``outside_debug`` is True.

    Raises:
        SettingsError: the setting contains an unknown name.
    """
    return bool(settings.DEBUG or _given().get("outside_debug"))


def get_mailbox() -> Mailbox:
    """The mailbox of this process, with its SMTP server listening.

    The first call makes it, and imports the modules ``mail_previews`` of all installed apps.

    Raises:
        SettingsError: DEBUG is False, the setting contains an unknown name, or the port is
            in use.
        OSError, sqlite3.Error: the file cannot be used.
    """
    given = _given()
    if not is_allowed():
        raise SettingsError(
            "The mailbox is for development, and DEBUG is False: mail sent there reaches "
            f"nobody. Set another EMAIL_BACKEND, or {NAME}['outside_debug'] = True."
        )
    with _lock:
        if not _made:
            autodiscover_modules("mail_previews")
            options = {name: given[name] for name in ("path", "keep", "hosts") if name in given}
            _made.append(Mailbox(**options))
        box = _made[0]
    port = given.get("smtp_port") or 0
    try:
        box.listen(port)
    except (OSError, OverflowError, TypeError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise SettingsError(
                f"{NAME}['smtp_port'] = {port!r} is in use. Set another port, or none to use any "
                "free port."
            ) from error
        raise SettingsError(
            f"{NAME}['smtp_port'] = {port!r} cannot be used ({error}). Set another port, or none "
            "to use any free port."
        ) from error
    return box


def close_mailbox() -> None:
    """Stop the server and discard mail in memory; the next `get_mailbox` makes a new one."""
    with _lock:
        while _made:
            _made.pop().close()


def _given() -> dict[str, Any]:
    given: dict[str, Any] = dict(getattr(settings, NAME, None) or {})
    for name in given:
        if name not in _KNOWN:
            near = nearest(name, _KNOWN)
            hint = f"Did you mean {near!r}?" if near else f"Use one of {', '.join(_KNOWN)}."
            raise SettingsError(f"{NAME}: unknown name {name!r}. {hint}")
    return given


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == NAME:
        close_mailbox()


setting_changed.connect(_forget)
