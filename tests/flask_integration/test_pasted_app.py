"""The README's block for Flask, pasted into the two kinds of application that people have."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from support.server import MailServer

README = Path(__file__).parents[2] / "README.md"
if not README.is_file():
    pytest.skip("the README is not here", allow_module_level=True)

MODULE = """
from flask import Flask

app = Flask(__name__)

{block}
"""
# As the tutorial of Flask arranges it: a factory, and a view defined inside.
FACTORY = """
import os

from flask import Flask


def create_app(test_config=None):
    app = Flask(__name__, instance_relative_config=True)
    app.config.from_mapping(SECRET_KEY="dev", DATABASE=os.path.join(app.instance_path, "shop.db"))
    if test_config is None:
        app.config.from_pyfile("config.py", silent=True)
    else:
        app.config.from_mapping(test_config)

    @app.route("/hello")
    def hello():
        return "Hello"

{indented}

    return app


app = create_app()
"""


@pytest.mark.parametrize("application", [MODULE, FACTORY], ids=["module", "factory"])
def test_the_readmes_block_sends_mail_where_it_is_pasted(
    application: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [block] = re.findall(
        r"^```python\n# app\.py\n(.*?)^```$", README.read_text("utf-8"), re.M | re.S
    )
    with MailServer(tls="starttls", login=("shop", "secret"), require_login=True) as server:
        monkeypatch.setenv("SSL_CERT_FILE", server.cafile)
        block = block.replace("smtp.example.com", server.host).replace("587", str(server.port))
        code = application.format(block=block, indented=textwrap.indent(block, "    "))
        names: dict[str, Any] = {"__name__": "pasted"}
        exec(compile(code, "app.py", "exec"), names)  # noqa: S102
        answer = names["app"].test_client().post("/orders")
        assert answer.json == {"accepted": ["ada@example.com"]}
        names["app"].extensions["mail"].close()
    assert server.message.rcpt_tos == ("ada@example.com",)
    assert server.message.user == "shop"
