"""Both shops with their mailbox: what they send is there, and so are their previews."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nh3", reason="the extra mailbox is not installed here")
pytest.importorskip("jinja2", reason="the extra mailbox is not installed here")

EXAMPLES = Path(__file__).parents[2] / "examples"

DJANGO = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)  # orders are stored
from django.test import Client
shop = Client(headers={"host": "localhost"})
order = {"email": "ada@example.com", "product": "tea", "quantity": 2}
answer = shop.post("/api/orders/", order, content_type="application/json")
assert answer.status_code < 300, answer.content
"""
FLASK = """
from flask_shop import create_app
app = create_app()
app.debug = True
shop = app.test_client()
order = {"name": "Ada", "email": "ada@example.com", "product": "tea", "quantity": "2"}
answer = shop.post("/api/orders/", json=order)
assert answer.status_code < 300, answer.text
"""
LOOK = """
def body(path):
    answer = shop.get("/mailbox/" + path)
    assert answer.status_code == 200, (path, answer.status_code)
    return (getattr(answer, "content", None) or answer.data).decode()
assert "Your order" in body(""), body("")
assert "invoice" in body("messages/1/")
names = body("previews/")
for name in {names}:
    page = body(f"previews/{{name}}/")
    assert "Traceback" not in page, page
    assert name in names
print("seen")
"""


@pytest.mark.parametrize(
    ("framework", "code", "names"),
    [
        ("django", DJANGO, ["order_confirmation", "newsletter"]),
        ("flask", FLASK, ["order_confirmation", "password_reset", "newsletter"]),
    ],
)
def test_a_shop_shows_what_it_sends_and_what_it_could_send(
    framework: str, code: str, names: list[str]
) -> None:
    pytest.importorskip(framework)
    look = LOOK.replace("{names}", repr(names)).replace("{{", "{").replace("}}", "}")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    env |= {"MAIL_DEMO_BACKEND": "mailbox", "SHOP_DEBUG": "1"}
    env["DJANGO_SETTINGS_MODULE"] = "shop.settings"
    folder = EXAMPLES / "django_shop" if framework == "django" else EXAMPLES
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code + look],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip().endswith("seen"), done.stderr[-3000:]
