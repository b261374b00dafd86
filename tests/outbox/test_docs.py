"""The samples for Flask and plain Python in docs/outbox.md run as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text

from support.sink import Sink

PAGE = (Path(__file__).parents[2] / "docs" / "outbox.md").read_text("utf-8")
_BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def _sample(marker: str, port: int) -> str:
    [found] = [block for block in _BLOCKS if marker in block]
    return found.replace(
        "smtp+starttls://shop:secret@smtp.example.com:587", f"smtp://127.0.0.1:{port}"
    )


def test_plain_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Sink() as sink:
        names: dict[str, object] = {}
        exec(compile(_sample("from sqlalchemy.orm", sink.port), "sample", "exec"), names)  # noqa: S102
        from mailbackends import Mailer

        with Mailer(f"smtp://127.0.0.1:{sink.port}") as mailer:
            assert names["outbox"].worker(mailer).run_once() == 1
        assert sink.message.message["Subject"] == "Your order"
    names["engine"].dispose()


def test_flask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("flask_sqlalchemy")
    monkeypatch.chdir(tmp_path)
    with Sink() as sink:
        code = _sample("flask_sqlalchemy import", sink.port)
        code = code.replace("sqlite:///shop.sqlite3", f"sqlite:///{tmp_path / 'shop.sqlite3'}")
        names: dict[str, object] = {"__name__": "shop_app"}
        exec(compile(code, "sample", "exec"), names)  # noqa: S102
        app = names["app"]
        runner = app.test_cli_runner()
        assert runner.invoke(args=["mail", "outbox", "create-tables"]).exit_code == 0
        assert app.test_client().post("/orders").json["outcome"] == "pending"
        done = runner.invoke(args=["mail", "outbox", "work", "--once"])
        assert done.output == "1 message handled\n"
        assert sink.message.message["Subject"] == "Your order"
        with app.app_context():
            names["db"].engine.dispose()


def test_alembic_makes_the_tables(engine: Engine) -> None:
    pytest.importorskip("alembic")
    from alembic.autogenerate import produce_migrations
    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from sqlalchemy import MetaData

    [models] = [block for block in _BLOCKS if "outbox_tables(metadata)" in block]
    [upgrade] = [block for block in _BLOCKS if "notify_statements()" in block]
    names: dict[str, MetaData] = {}
    exec(compile(models, "models.py", "exec"), names)  # noqa: S102
    with engine.begin() as connection:
        context = MigrationContext.configure(connection)
        operations = Operations(context)
        changes = produce_migrations(context, names["metadata"]).upgrade_ops
        assert changes is not None
        for change in changes.ops:
            # Those of one table, such as its indexes, come together.
            for each in getattr(change, "ops", [change]):
                operations.invoke(each)
        if engine.dialect.name == "postgresql":
            exec(compile(upgrade, "revision.py", "exec"), {"op": operations})  # noqa: S102
            triggers = connection.execute(text("SELECT tgname FROM pg_trigger")).scalars()
            assert "outbox_message_notify" in set(triggers)
    assert {"outbox_message", "outbox_recipient"} <= set(inspect(engine).get_table_names())
