"""Settings from the environment.

====================  ======================================================
MAIL_DEMO_HOST        the mail server; without it, mail goes to the terminal
MAIL_DEMO_PORT        its port, by default 587
MAIL_DEMO_USER        the login, which is sent over STARTTLS only
MAIL_DEMO_PASSWORD    and its password
MAIL_DEMO_CAFILE      the authority to trust, in place of the system's
MAIL_DEMO_BACKEND     ``mailbox``: all mail is shown at ``/mailbox/``, in debug mode
SHOP_SITE             such as ``https://shop.example.com``: newsletters can be left by one
                      click, and the shop remembers who has left
SHOP_DATABASE         a URL of SQLAlchemy: where that is remembered (by default in
                      ``shop.sqlite3``), and orders and their confirmations are
                      stored (by default they are not): see `orders`
SHOP_DKIM_KEY         the file with the key that signs all mail
====================  ======================================================
"""

from __future__ import annotations

import os
import secrets
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .orders import database

__all__ = ["FOLDER", "from_environment"]

FOLDER = Path(__file__).parent


def from_environment() -> dict[str, Any]:
    """Flask's settings, those of the mail server among them."""
    host = os.environ.get("MAIL_DEMO_HOST")
    login = os.environ.get("MAIL_DEMO_USER")
    server: dict[str, Any] = {
        "SERVER": host,
        "PORT": os.environ.get("MAIL_DEMO_PORT", "587"),
        "USERNAME": login,
        "PASSWORD": os.environ.get("MAIL_DEMO_PASSWORD"),
        "SSL_CAFILE": os.environ.get("MAIL_DEMO_CAFILE"),
        "USE_TLS": bool(login or os.environ.get("MAIL_DEMO_CAFILE")),
    }
    key = os.environ.get("SHOP_DKIM_KEY")
    if key:
        server["DKIM"] = {"domain": "leafandcup.example", "selector": "shop", "key_file": key}
    return {
        **_newsletter(os.environ.get("SHOP_SITE", "").rstrip("/")),
        "SECRET_KEY": os.environ.get("SECRET_KEY") or secrets.token_hex(),
        **{f"MAIL_{name}": value for name, value in server.items()},
        "MAIL_BACKEND": os.environ.get("MAIL_DEMO_BACKEND") or ("smtp" if host else "console"),
        "MAIL_OUTBOX_DATABASE": database(),
        "MAILBOX_PREVIEWS": ["flask_shop.previews"],
        "MAIL_DEFAULT_SENDER": ("Leaf & Cup", "shop@leafandcup.example"),
        # A view never waits longer than this, whatever the server does.
        "MAIL_DEADLINE": 30,
        # With the extra "html", styles are inlined.
        "MAIL_INLINE_CSS": find_spec("css_inline") is not None,
        # Newsletters do not delay orders.
        "MAIL_MAILERS": {
            "bulk": {
                **server,
                "DEFAULT_SENDER": "Leaf & Cup News <news@leafandcup.example>",
                "POOL_SIZE": 1,
            }
        },
    }


def _newsletter(site: str) -> dict[str, Any]:
    """How people leave the newsletter, and where the shop remembers it."""
    if not site:
        return {}
    return {
        "MAIL_UNSUBSCRIBE_URL": f"{site}/unsubscribe/",
        "MAIL_SUPPRESSION": True,
        "MAIL_SUPPRESSION_DATABASE": os.environ.get("SHOP_DATABASE", "sqlite:///shop.sqlite3"),
        "MAIL_SUPPRESSION_EXEMPT": ["password_reset"],
    }
