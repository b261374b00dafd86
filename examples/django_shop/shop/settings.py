"""Settings of the shop. The SMTP server comes from the environment:

``MAIL_DEMO_HOST``, ``MAIL_DEMO_PORT``, ``MAIL_DEMO_USER``, ``MAIL_DEMO_PASSWORD`` and
``MAIL_DEMO_CAFILE`` (a private CA, PEM). With a CA or a user, STARTTLS is used.
``MAIL_DEMO_BACKEND=django`` uses Django's own SMTP backend instead, for comparison.
``MAIL_DEMO_BACKEND=mailbox`` shows all mail at ``/mailbox/``, with ``SHOP_DEBUG=1``.
``MAIL_DEMO_REDIRECT`` sends everything to one address, as on a staging system.
``SHOP_OUTBOX=1`` queues all mail in the database, for ``manage.py outbox work`` to deliver;
it needs a file in ``SHOP_DATABASE``. ``SHOP_OUTBOX_LEASE`` is the time after which another worker
takes over from one that died, in seconds.
``SHOP_SITE=https://shop.example.com`` gives newsletters a link to leave by one click, and
remembers who has left. ``SHOP_DKIM_KEY``, a file that ``mailbackends dkim-key --domain example.com
--selector shop`` has made, signs all mail.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import django

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ.get(
    "SHOP_SECRET_KEY", "for-the-example-only-never-in-production-0123456789"
)
DEBUG = os.environ.get("SHOP_DEBUG", "") == "1"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "testserver"]

INSTALLED_APPS = [
    "shop.apps.ShopConfig",  # first, so that its templates go before those of auth
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django_integration",  # system checks and `manage.py mail_doctor`
]
HAS_OUTBOX = os.environ.get("SHOP_OUTBOX") == "1"
OUTBOX_LEASE = float(os.environ.get("SHOP_OUTBOX_LEASE", "300"))
if HAS_OUTBOX:
    INSTALLED_APPS.append("django_integration.outbox")
SITE = os.environ.get("SHOP_SITE", "").rstrip("/")
if SITE:
    INSTALLED_APPS.append("django_integration.suppression")
    MAILBACKENDS_UNSUBSCRIBE_URL = f"{SITE}/unsubscribe/"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        # In memory, for one process: `manage.py serve` fills it.
        "NAME": os.environ.get("SHOP_DATABASE", "file:shop?mode=memory&cache=shared"),
        "OPTIONS": {"timeout": 20},
    }
}
USE_TZ = True
USE_I18N = False

# --- mail -----------------------------------------------------------------------------

DEFAULT_FROM_EMAIL = "The Example Shop <shop@example.com>"
SERVER_EMAIL = "shop-server@example.com"
# Django 6.0 and later take addresses, Django 5.2 pairs of name and address.
ADMINS: list[Any] = ["operator@example.com"]
MANAGERS: list[Any] = ["managers@example.com"]
if django.VERSION < (6, 0):
    ADMINS, MANAGERS = [("Operator", *ADMINS)], [("Managers", *MANAGERS)]

MAIL_HOST = os.environ.get("MAIL_DEMO_HOST", "localhost")
MAIL_PORT = int(os.environ.get("MAIL_DEMO_PORT", "25"))
MAIL_USER = os.environ.get("MAIL_DEMO_USER", "")
MAIL_PASSWORD = os.environ.get("MAIL_DEMO_PASSWORD", "")
MAIL_CAFILE = os.environ.get("MAIL_DEMO_CAFILE", "")
MAIL_TLS = bool(MAIL_CAFILE or MAIL_USER)

if os.environ.get("MAIL_DEMO_BACKEND") == "django":
    MAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    MAIL_FURTHER: dict[str, Any] = {}
    MAIL_STRICT: dict[str, Any] = {}
    if MAIL_CAFILE:
        # Django's backend has no setting for a private CA; OpenSSL has this variable.
        os.environ["SSL_CERT_FILE"] = MAIL_CAFILE
elif os.environ.get("MAIL_DEMO_BACKEND") == "mailbox":
    MAIL_BACKEND = "django_integration.mailbox.EmailBackend"
    MAIL_FURTHER = {}
    MAIL_STRICT = {"on_partial_refusal": "raise"}
else:
    MAIL_BACKEND = "django_integration.EmailBackend"
    MAIL_FURTHER = {"ssl_cafile": MAIL_CAFILE} if MAIL_CAFILE else {}
    if os.environ.get("MAIL_DEMO_REDIRECT"):
        MAIL_FURTHER["redirect_all_to"] = [os.environ["MAIL_DEMO_REDIRECT"]]
    if os.environ.get("SHOP_DKIM_KEY"):
        MAIL_FURTHER["dkim"] = {
            "domain": "example.com",
            "selector": "shop",
            "key_file": os.environ["SHOP_DKIM_KEY"],
        }
    # For mail that every recipient must get: refused recipients are an error.
    MAIL_STRICT = {"on_partial_refusal": "raise"}

if django.VERSION >= (6, 1):
    MAIL_OPTIONS = {
        "host": MAIL_HOST,
        "port": MAIL_PORT,
        "username": MAIL_USER,
        "password": MAIL_PASSWORD,
        "use_tls": MAIL_TLS,
        "timeout": 20,
        **MAIL_FURTHER,
    }
    MAILERS = {
        "default": {"BACKEND": MAIL_BACKEND, "OPTIONS": MAIL_OPTIONS},
        "strict": {"BACKEND": MAIL_BACKEND, "OPTIONS": {**MAIL_OPTIONS, **MAIL_STRICT}},
    }
    if HAS_OUTBOX:
        MAILBACKENDS: dict[str, Any] = {"outbox": {"lease": OUTBOX_LEASE}}
        MAILERS["smtp"] = MAILERS["default"]
        MAILERS["default"] = {
            "BACKEND": "django_integration.outbox.EmailBackend",
            "OPTIONS": {"via": "smtp"},
        }
else:
    EMAIL_BACKEND = MAIL_BACKEND
    EMAIL_HOST, EMAIL_PORT, EMAIL_USE_TLS = MAIL_HOST, MAIL_PORT, MAIL_TLS
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = MAIL_USER, MAIL_PASSWORD
    EMAIL_TIMEOUT = 20
    MAILBACKENDS = dict(MAIL_FURTHER)
    if HAS_OUTBOX:
        EMAIL_BACKEND = "django_integration.outbox.EmailBackend"
        MAILBACKENDS["outbox"] = {"backend": MAIL_BACKEND, "lease": OUTBOX_LEASE}

# Errors in views are mailed to ADMINS, and errors in mail are logged: `mailbackends` and
# AdminEmailHandler do not call each other for ever.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "console": {"class": "logging.StreamHandler"},
        "admins": {"class": "django.utils.log.AdminEmailHandler", "level": "ERROR"},
    },
    "loggers": {
        "django.request": {"handlers": ["console", "admins"], "propagate": False},
        "mailbackends": {"handlers": ["console"], "level": "INFO", "propagate": False},
    },
}
