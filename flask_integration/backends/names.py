"""The backend that MAIL_BACKEND means."""

from __future__ import annotations

from importlib import import_module

from flask_integration.backends.base import Backend
from flask_integration.backends.local import (
    ConsoleBackend,
    DummyBackend,
    FileBackend,
    MemoryBackend,
)
from flask_integration.backends.smtp import SmtpBackend
from mailbackends import ConfigurationError

__all__ = ["find_backend"]

_SHORT_NAMES: dict[str, type[Backend]] = {
    "smtp": SmtpBackend,
    "console": ConsoleBackend,
    "file": FileBackend,
    "memory": MemoryBackend,
    "locmem": MemoryBackend,  # the name that Flask-Mailman has for it
    "dummy": DummyBackend,
}
# Imported where it is asked for: it needs an extra.
_LAZY_NAMES = {"mailbox": "flask_integration.mailbox.MailboxBackend"}


def find_backend(name: str | type[Backend]) -> type[Backend]:
    """The class that MAIL_BACKEND means: a short name, a dotted path, or the class itself.

    Raises:
        ConfigurationError: there is none.
    """
    if not isinstance(name, str):
        return name
    short = name.removeprefix("flask_mailman.backends.").removesuffix(".EmailBackend")
    if found := _SHORT_NAMES.get(short.lower()):
        return found
    name = _LAZY_NAMES.get(short.lower(), name)
    module, _, attribute = name.rpartition(".")
    try:
        backend = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"MAIL_BACKEND {name!r} cannot be found: use one of "
            f"{', '.join(sorted({*_SHORT_NAMES, *_LAZY_NAMES}))}, or the dotted path of a "
            f"Backend class ({error})"
        ) from error
    if not (isinstance(backend, type) and issubclass(backend, Backend)):
        raise ConfigurationError(
            f"MAIL_BACKEND {name!r} is no subclass of flask_integration.Backend"
        )
    return backend
