"""What a task that sent mail returns or raises, through the JSON of its queue."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
import pytest
from django.core.mail import EmailMessage

from django_integration import BatchError, PartialRefusal, SendCancelled, receipt_of
from django_integration.compat import backend_for
from mailbackends import Outcome, SMTPException
from support.server import MailServer

Use = Callable[..., None]

ID = "<order-1@example.com>"
PAGE = Path(__file__).parents[2] / "docs" / "django.md"


def message(*to: str) -> EmailMessage:
    return EmailMessage("s", "b", to=list(to or ("a@example.com",)))


@pytest.fixture(scope="module")
def celery_app() -> Any:
    celery = pytest.importorskip("celery")
    app = celery.Celery("shop", set_as_current=False)
    app.conf.update(task_always_eager=True, task_eager_propagates=False)
    return app


@pytest.fixture(scope="module")
def confirm(celery_app: Any) -> Any:
    """The task in the documentation."""
    if not PAGE.is_file():
        pytest.skip("the documentation is not here")
    text = PAGE.read_text(encoding="utf-8")
    code = text.partition("```python\n# tasks.py\n")[2].partition("```")[0]
    names: dict[str, Any] = {"__name__": "tasks"}
    celery_app.set_current()
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102 - the page's own sample
    return names["confirm"]


def test_the_documented_task_returns_the_receipt(mail: MailServer, confirm: Any) -> None:
    result = confirm.apply(args=["ada@example.com", ID]).get()
    assert json.loads(json.dumps(result)) == result
    assert (result["outcome"], result["accepted"]) == ("accepted", ["ada@example.com"])


def test_the_documented_task_tries_again_after_a_transient_error(
    mail: MailServer, confirm: Any
) -> None:
    mail.refuse("ada@example.com", "451 4.2.0 Later", times=2)
    result = confirm.apply(args=["ada@example.com", ID]).get()
    assert result["outcome"] == "accepted"
    assert len(mail.messages) == 1


def test_the_documented_task_returns_a_permanent_error(mail: MailServer, confirm: Any) -> None:
    mail.refuse("ada@example.com")
    result = confirm.apply(args=["ada@example.com", ID]).get()
    assert json.loads(json.dumps(result)) == result
    assert (result["error"], result["outcome"]) == ("SMTPRecipientsRefused", "refused")
    assert result["is_transient"] is False


def test_the_documented_task_does_not_send_again_after_an_unknown_outcome(
    mail: MailServer, confirm: Any
) -> None:
    mail.hang_up()
    result = confirm.apply(args=["ada@example.com", ID]).get()
    assert result["outcome"] == "unknown"
    assert len(mail.messages) == 0


def through_json(app: Any, error: Exception) -> Any:
    """As a result backend stores an exception, and restores it."""
    from celery.backends.base import Backend
    from kombu.serialization import dumps

    backend = Backend(app=app)
    stored = backend.prepare_exception(error, serializer="json")
    _, _, payload = dumps(stored, serializer="json")
    return backend.exception_to_python(json.loads(payload))


def test_errors_keep_outcome_and_is_transient_in_a_result_backend(
    use_mail: Use, server: MailServer, celery_app: Any
) -> None:
    use_mail(host=server.host, port=server.port, on_partial_refusal="raise")
    server.refuse("gone@example.com")
    server.refuse("busy@example.com", "451 4.2.0 Later")
    with pytest.raises(PartialRefusal) as partial:
        message("a@example.com", "gone@example.com").send()
    with pytest.raises(BatchError) as batch:
        backend_for().send_messages([message(), message("busy@example.com")])
    with pytest.raises(SMTPException) as invalid:
        message("a:b@example.com").send()
    use_mail(host="127.0.0.1", port=1)
    with pytest.raises(SMTPException) as unreachable:
        message().send()

    for error in (partial.value, batch.value, invalid.value, unreachable.value):
        restored = through_json(celery_app, error)
        assert type(restored) is type(error)
        assert restored.outcome == error.outcome
        # Which message of the batch failed is no longer known, so none may be sent again.
        assert restored.is_transient == (error.is_transient and error is not batch.value)
        assert str(restored)
    assert partial.value.outcome is Outcome.ACCEPTED
    assert unreachable.value.is_transient
    assert batch.value.is_transient


def test_a_batch_error_as_a_dictionary_has_the_result_of_each_message(mail: MailServer) -> None:
    mail.refuse("gone@example.com")
    with pytest.raises(BatchError) as caught:
        backend_for().send_messages([message(), message("gone@example.com"), message()])
    result = json.loads(json.dumps(caught.value.as_dict()))
    assert result["error"] == "BatchError"
    assert [one["outcome"] for one in result["messages"]] == ["accepted", "refused", "accepted"]


def test_cancelled_and_foreign_errors_have_a_place_in_that_dictionary() -> None:
    error = BatchError([(message(), SendCancelled("draft")), (message(), RuntimeError("bug"))])
    assert error.as_dict()["messages"] == [
        {"error": "SendCancelled", "text": "draft"},
        {"error": "RuntimeError", "text": "bug"},
    ]


@pytest.mark.skipif(django.VERSION < (6, 0), reason="django.tasks came with Django 6.0")
def test_a_task_of_django_can_return_the_receipt(mail: MailServer) -> None:
    result = confirm_by_django.enqueue("ada@example.com")
    assert result.status == "SUCCESSFUL"
    assert result.return_value["outcome"] == "accepted"
    assert result.return_value["message_id"] == mail.message.message["Message-ID"]


if django.VERSION >= (6, 0):
    from django.tasks import task

    @task
    def confirm_by_django(address: str) -> dict[str, Any] | None:
        sent = message(address)
        sent.send()
        receipt = receipt_of(sent)
        return receipt and receipt.as_dict()
