"""The record to publish, what is published, and the doctor's step that compares them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from mailbackends import DKIM, Options, SMTPConnectionError, Step, diagnose
from support.dkim import ED25519, RSA, key_for, records
from support.sink import Sink

pytest.importorskip("cryptography", reason="DKIM needs the extra dkim")

from mailbackends.dkim.record import compared, record_of, zone_lines


def published(key: DKIM) -> str:
    return records(key)[key.record_name]


@pytest.mark.parametrize("algorithm", [RSA, ED25519])
def test_the_record_is_read_as_the_key_that_it_was_made_from(algorithm: str) -> None:
    key = key_for(algorithm=algorithm)
    assert key.signing_key.public is not None
    found = compared(key.signing_key.public, [published(key)])
    assert (found.error, found.warnings) == ("", ())


def test_a_long_record_is_written_in_strings_of_255_characters() -> None:
    key = key_for()
    text = zone_lines(key.record_name, published(key))
    strings = re.findall(r'"([^"]*)"', text)
    assert "".join(strings) == published(key)
    assert max(map(len, strings)) == 255
    assert text.startswith("s1._domainkey.example.com. IN TXT (\n")


def test_a_short_record_is_one_string() -> None:
    key = key_for(algorithm=ED25519)
    assert zone_lines("a.test", published(key)).count('"') == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: [], "no TXT record is published"),
        (lambda text: ["v=spf1 -all"], "no DKIM key in 'v=spf1 -all'"),
        (lambda text: [text, text], "2 DKIM records are published"),
        (lambda text: [re.sub("p=.*", "p=", text)], "revoked"),
        (lambda text: [text + "; s=tlsrpt"], "not for mail"),
        (lambda text: [text + "; h=sha1"], "does not allow SHA-256"),
        (lambda text: [text[:-20]], "cannot be read"),
        (lambda text: [text.replace("k=rsa", "k=ed25519")], "cannot be read"),
        (lambda text: [published(key_for(number=1))], "another key is published"),
        (lambda text: [published(key_for(algorithm=ED25519))], "another key .*Ed25519"),
    ],
)
def test_a_record_that_verifies_nothing_is_an_error(change: Any, words: str) -> None:
    key = key_for().signing_key.public
    assert key is not None
    assert re.search(words, compared(key, change(record_of(key))).error)


@pytest.mark.parametrize(
    "write",
    [
        lambda text: text.replace("v=DKIM1; ", ""),
        lambda text: text.replace("k=rsa; ", ""),
        lambda text: text.replace("; ", ";"),
        lambda text: text.replace("MII", " MII ") + " ; s=email:other ; t=s; h=sha1:sha256;",
    ],
)
def test_a_record_may_be_written_in_other_ways(write: Any) -> None:
    key = key_for().signing_key.public
    assert key is not None
    assert compared(key, [write(record_of(key))]).error == ""


def test_a_domain_that_is_testing_is_a_warning() -> None:
    key = key_for().signing_key.public
    assert key is not None
    assert "testing" in compared(key, [record_of(key) + "; t=y:s"]).warnings[0]


def step(key: Any, resolver: Any) -> Step:
    with Sink() as sink:
        options = Options.from_url(sink.url, dkim=key, timeout=10.0)
        found = list(diagnose(options, resolver=resolver))
    assert [each.name for each in found] == ["resolve", "connect", "greeting", "EHLO", "DKIM"]
    return found[-1]


def test_the_doctor_compares_each_key_with_what_is_published() -> None:
    key = key_for(senders=("example.com", "example.org"))
    asked: list[str] = []

    def resolver(name: str) -> Sequence[str]:
        asked.append(name)
        return [published(key)]

    found = step(key, resolver)
    assert found.is_ok
    assert asked == ["s1._domainkey.example.com"]
    assert found.findings == (
        "s1._domainkey.example.com, RSA with 2048 bits",
        "signs mail from example.com, example.org",
        "the published key matches",
    )


def test_the_doctor_prints_the_record_to_publish() -> None:
    key = key_for(algorithm=ED25519)
    found = step(key, lambda name: [])
    assert not found.is_ok
    assert found.error is not None
    assert "no TXT record is published: publish s1._domainkey.example.com. IN TXT" in found.error
    assert published(key) in found.error


def test_the_doctor_prints_the_record_also_if_nothing_can_be_looked_up() -> None:
    def resolver(name: str) -> Sequence[str]:
        raise SMTPConnectionError("no resolver answers")

    found = step(key_for(algorithm=ED25519), resolver)
    assert found.error is not None
    assert "no resolver answers" in found.error
    assert published(key_for(algorithm=ED25519)) in found.error


@pytest.mark.parametrize("number", [0, 1])
def test_the_doctor_tries_a_callable_on_the_published_key(number: int) -> None:
    key = key_for()
    by_service = DKIM(domain="example.com", selector="s1", sign=key.signing_key.sign)
    found = step(by_service, lambda name: [published(key_for(number=number))])
    assert found.is_ok == (number == 0)
    if number:
        assert "does not verify a signature by sign" in (found.error or "")
