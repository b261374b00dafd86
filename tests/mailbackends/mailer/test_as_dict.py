"""Receipts and statistics as dictionaries, for JSON."""

from __future__ import annotations

import json
import pickle

import pytest

from mailbackends import Mailer, Receipt, Reply
from support.sink import Sink

RECEIPT = Receipt(
    accepted=("a@example.com",),
    reply=Reply(250, (b"2.0.0 queued as 1234",)),
    refused={"b@example.com": Reply(550, (b"5.1.1 No such user",))},
    message_id="<1@example.com>",
    duration=0.25,
)


def test_a_receipt_as_a_dictionary() -> None:
    assert RECEIPT.as_dict() == {
        "outcome": "accepted",
        "accepted": ["a@example.com"],
        "refused": {
            "b@example.com": {
                "code": 550,
                "text": "5.1.1 No such user",
                "enhanced_status": "5.1.1",
            }
        },
        "suppressed": {},
        "reply": {"code": 250, "text": "2.0.0 queued as 1234", "enhanced_status": "2.0.0"},
        "message_id": "<1@example.com>",
        "duration": 0.25,
    }


def test_a_receipt_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(RECEIPT)) == RECEIPT  # noqa: S301


def test_a_celery_task_may_return_a_receipt() -> None:
    kombu_json = pytest.importorskip("kombu.utils.json")
    assert kombu_json.loads(kombu_json.dumps(RECEIPT)) == RECEIPT.as_dict()


def test_replies_and_statistics_can_be_written_as_json(message) -> None:
    with Sink() as sink, Mailer(sink.url) as mailer:
        receipt = mailer.send_message(message())
        stats = mailer.stats().as_dict()
        shown = receipt.as_dict()
        assert json.loads(json.dumps([shown, stats])) == [shown, stats]
        assert shown["reply"]["code"] == 250
        assert stats["messages"] == {"accepted": 1}
        assert stats["pool"]["made"] == 1
        assert stats["servers"] == [server.as_dict() for server in mailer.stats().servers]
        assert stats["servers"][0]["server"] == f"{sink.host}:{sink.port}"
        assert stats["servers"][0]["circuit"] == "closed"
