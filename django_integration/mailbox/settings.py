"""The project's one mailbox, as the setting ``MAILBACKENDS_MAILBOX`` describes it::

MAILBACKENDS_MAILBOX = {
    "path": BASE_DIR / "mailbox.sqlite3",  # in memory where it is not given
    "keep": 1000,                          # messages
    "smtp_port": 1025,                     # a free one where it is not given
    "hosts": ["shop.test"],                # names for browsers, beside those of loopback
    "outside_debug": False,                # True: also where DEBUG is off
}
"""

from __future__ import annotations

import difflib
import threading
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import autodiscover_modules

from django_integration.errors import SettingsError
from mailbackends.mailbox import Mailbox

__all__ = ["close_mailbox", "get_mailbox", "is_allowed"]

NAME = "MAILBACKENDS_MAILBOX"
_KNOWN = ("path", "keep", "smtp_port", "hosts", "outside_debug")
_lock = threading.Lock()
_made: list[Mailbox] = []  # at most one


def is_allowed() -> bool:
    """True where DEBUG is on, or ``outside_debug`` says that it may be off.

    Raises:
        SettingsError: there is an unknown name in the setting.
    """
    return bool(settings.DEBUG or _given().get("outside_debug"))


def get_mailbox() -> Mailbox:
    """The mailbox of this process, its SMTP server listening; made at the first call.

    The modules ``mail_previews`` of all installed apps are imported then.

    Raises:
        SettingsError: it is not allowed here, or there is an unknown name in the setting.
        OSError, sqlite3.Error: the port is taken, or the file cannot be used.
    """
    given = _given()
    if not is_allowed():
        raise SettingsError(
            "the mailbox is for development, and DEBUG is off: mail sent there reaches "
            f"nobody. Set another EMAIL_BACKEND, or {NAME}['outside_debug'] = True"
        )
    with _lock:
        if not _made:
            autodiscover_modules("mail_previews")
            options = {name: given[name] for name in ("path", "keep", "hosts") if name in given}
            _made.append(Mailbox(**options))
        box = _made[0]
    box.listen(given.get("smtp_port") or 0)
    return box


def close_mailbox() -> None:
    """Stop its server and forget the mail that is in memory; the next call makes another."""
    with _lock:
        while _made:
            _made.pop().close()


def _given() -> dict[str, Any]:
    given: dict[str, Any] = dict(getattr(settings, NAME, None) or {})
    for name in given:
        if name not in _KNOWN:
            near = difflib.get_close_matches(name, _KNOWN, n=1)
            mend = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_KNOWN)}"
            raise SettingsError(f"{NAME}: unknown name {name!r}: {mend}")
    return given


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == NAME:
        close_mailbox()


setting_changed.connect(_forget)
