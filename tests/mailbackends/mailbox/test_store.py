"""The store: searching, its limit, and waiting for changes."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("nh3", reason="the extra mailbox is not installed here")
pytest.importorskip("jinja2", reason="the extra mailbox is not installed here")

from mailbackends.mailbox import Store
from mailbackends.mailbox.store import Arrival
from support.mailbox import mail

HELLO = Arrival(sender="shop@example.com", accepted=("ada@example.com", "bcc@example.com"))


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "mail.sqlite3" if request.param == "file" else None, keep=3)
    yield store
    store.close()


def test_a_message_is_stored_unchanged(store: Store) -> None:
    content = mail().as_bytes()
    number = store.add(content, HELLO)
    found = store.get(number)
    assert found is not None
    assert found.content == content
    assert found.arrival == HELLO
    assert found.summary.subject == "Your order 1042 is on its way"
    assert not found.summary.is_read
    assert store.get(number + 1) is None


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("", 2),
        ("1042", 1),
        ("ORDER ada", 1),
        ("bcc@example.com", 2),
        ("grace 1042", 0),
        ("invoice.pdf", 1),
        ("%", 0),
        ("100%", 0),
        ("_", 0),
        ("ümlaut", 1),
        ("ÜMLAUT", 1),
    ],
)
def test_search_finds_all_words_ignoring_case_and_without_wildcards(
    store: Store, words: str, count: int
) -> None:
    store.add(mail(attachments={"invoice.pdf": b"x"}).as_bytes(), HELLO)
    store.add(mail(to="grace@example.com", subject="Hello", text="Ümlaut").as_bytes(), HELLO)
    assert len(store.find(words)) == store.count(words) == count


def test_the_oldest_messages_are_deleted_beyond_the_limit(store: Store) -> None:
    numbers = [store.add(b"Subject: x\r\n\r\n", HELLO) for _ in range(5)]
    assert [line.id for line in store.find()] == numbers[:1:-1]


def test_numbers_are_never_reused(store: Store) -> None:
    first = store.add(b"", HELLO)
    store.clear()
    assert store.add(b"", HELLO) > first


def test_delete_returns_whether_the_message_existed(store: Store) -> None:
    number = store.add(b"", HELLO)
    assert store.delete(number)
    assert not store.delete(number)


def test_wait_returns_when_a_message_arrives(store: Store) -> None:
    version = store.version
    heard: list[int] = []
    waiter = threading.Thread(target=lambda: heard.append(store.wait(version, 30)))
    waiter.start()
    store.add(b"", HELLO)
    waiter.join(30)
    assert heard == [version + 1]


def test_wait_returns_the_old_version_after_the_timeout(store: Store) -> None:
    assert store.wait(store.version, 0.01) == store.version


def test_close_ends_every_wait() -> None:
    store = Store()
    version = store.version
    waiter = threading.Thread(target=store.wait, args=(version, 30))
    waiter.start()
    store.close()
    waiter.join(30)
    assert not waiter.is_alive()


def test_processes_share_a_file_and_notice_each_others_changes(tmp_path: Path) -> None:
    path = tmp_path / "mail.sqlite3"
    one, other = Store(path), Store(path)
    version = other.version
    number = one.add(b"Subject: Hello\r\n\r\n", HELLO)
    assert other.wait(version, 30) != version
    assert [line.id for line in other.find("hello")] == [number]
    assert other.token == one.token
    one.close()
    other.close()
    again = Store(path)
    assert again.count() == 1
    again.close()


def test_only_its_owner_can_read_a_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "mail.sqlite3")
    store.close()
    assert stat.S_IMODE((tmp_path / "mail.sqlite3").stat().st_mode) == 0o600
