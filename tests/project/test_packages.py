"""docs/packages.md: packages that send mail, each in a project of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest
from project.source import ROOT

from support.server import MailServer

PAGE = (ROOT / "docs" / "packages.md").read_text("utf-8")

DJANGO = """
    import sys
    import django
    from django.conf import settings
    host, port = sys.argv[1], int(sys.argv[2])
    def configure(apps, **given):
        options = {"host": host, "port": port}
        context = ["request", "auth.context_processors.auth"]
        settings.configure(**{
            "SECRET_KEY": "x", "ROOT_URLCONF": "__main__", "ALLOWED_HOSTS": ["*"],
            "STATIC_URL": "/static/", "DEFAULT_FROM_EMAIL": "shop@example.com", "SITE_ID": 1,
            "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            "TEMPLATES": [{
                "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
                "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
            }],
            "INSTALLED_APPS": [*apps, "django_integration"],
        } | (
            {"MAILERS": {
                "default": {"BACKEND": "django_integration.EmailBackend", "OPTIONS": options}
            }}
            if django.VERSION >= (6, 1)
            else {
                "EMAIL_BACKEND": "django_integration.EmailBackend",
                "EMAIL_HOST": host, "EMAIL_PORT": port,
            }
        ) | given)
        django.setup()
    CONTRIB = [f"django.contrib.{n}" for n in ("auth", "contenttypes", "sessions", "messages")]
"""

PROJECTS = {
    "allauth": """
        configure(
            [*CONTRIB, "django.contrib.sites", "allauth", "allauth.account"],
            MIDDLEWARE=[
                "django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware",
                "allauth.account.middleware.AccountMiddleware",
            ],
            ACCOUNT_EMAIL_VERIFICATION="mandatory",
            ACCOUNT_SIGNUP_FIELDS=["email*", "username*", "password1*", "password2*"],
        )
        from django.core.management import call_command
        from django.test import Client
        from django.urls import include, path
        urlpatterns = [path("accounts/", include("allauth.urls"))]
        call_command("migrate", verbosity=0)
        form = {"email": "ada@example.com", "username": "ada"}
        form |= dict.fromkeys(("password1", "password2"), "gT5#kdls9")
        assert Client().post("/accounts/signup/", form).status_code == 302
    """,
    "debug_toolbar": """
        configure(
            ["django.contrib.staticfiles", "debug_toolbar"],
            DEBUG=True,
            INTERNAL_IPS=["127.0.0.1"],
            MIDDLEWARE=["debug_toolbar.middleware.DebugToolbarMiddleware"],
            DEBUG_TOOLBAR_CONFIG={"IS_RUNNING_TESTS": False},
        )
        from debug_toolbar.toolbar import debug_toolbar_urls
        from django.core.mail import send_mail
        from django.http import HttpResponse
        from django.test import Client
        from django.urls import path
        def view(request):
            send_mail("s", "b", None, ["ada@example.com"])
            return HttpResponse("<html><body>ok</body></html>")
        urlpatterns = [path("", view), *debug_toolbar_urls()]
        assert b"djDebug" in Client().get("/").content
    """,
    "wagtail": """
        apps = ["users", "images", "documents", "admin", "search"]
        configure(
            [*(f"wagtail.{app}" for app in apps), "wagtail", "taggit", *CONTRIB],
            WAGTAILADMIN_BASE_URL="http://localhost", WAGTAIL_SITE_NAME="Shop",
        )
        from wagtail.admin.mail import send_mail
        assert send_mail("s", "b", ["ada@example.com"]) == 1
    """,
    "flask_security": """
        import sys
        sys.modules["flask_mail"] = None
        from flask import Flask
        from flask_security import Security, SQLAlchemyUserDatastore
        from flask_security.models import fsqla_v3 as models
        from flask_sqlalchemy import SQLAlchemy
        app = Flask("shop")
        app.config.update(
            MAIL_SERVER=sys.argv[1], MAIL_PORT=sys.argv[2], SECRET_KEY="x",
            SECURITY_PASSWORD_SALT="1", SECURITY_PASSWORD_HASH="pbkdf2_sha512",
            SECURITY_PASSWORD_SINGLE_HASH=True, SECURITY_REGISTERABLE=True,
            SECURITY_EMAIL_SENDER="shop@example.com", WTF_CSRF_ENABLED=False,
            SECURITY_EMAIL_VALIDATOR_ARGS={"check_deliverability": False},
            SQLALCHEMY_DATABASE_URI="sqlite://",
        )
        db = SQLAlchemy(app)
        models.FsModels.set_db_info(db)
        class Role(db.Model, models.FsRoleMixin): pass
        class User(db.Model, models.FsUserMixin): pass
        SAMPLE
        mail.init_app(app)
        Security(app, SQLAlchemyUserDatastore(db, User, Role), mail_util_cls=PooledMailUtil)
        with app.app_context():
            db.create_all()
        form = {"email": "ada@example.com", "password": "battery staple"}
        form["password_confirm"] = form["password"]
        assert app.test_client().post("/register", data=form).status_code == 302
    """,
}


@pytest.mark.parametrize("package", PROJECTS)
def test_a_package_sends_its_mail(package: str, mail_server: MailServer, tmp_path: Path) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    code = textwrap.dedent(PROJECTS[package])
    if "SAMPLE" in code:
        [sample] = re.findall(r"^```python\n# mail_util.py\n(.*?)^```", PAGE, re.M | re.S)
        code = code.replace("SAMPLE\n", sample)
    else:
        code = textwrap.dedent(DJANGO) + code
    path = tmp_path / "project.py"
    path.write_text(code)
    done = subprocess.run(  # noqa: S603
        [sys.executable, str(path), mail_server.host, str(mail_server.port)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert [received.rcpt_tos for received in mail_server.messages] == [("ada@example.com",)]
