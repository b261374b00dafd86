"""The option ``dkim``: what is refused, with which words, and that no key shows anywhere."""

from __future__ import annotations

import pickle
import subprocess
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailbackends import DKIM, ConfigurationError, Mailer, Options
from support.dkim import ED25519, RSA, key_for, pem_of

pytest.importorskip("cryptography", reason="DKIM needs the extra dkim")

EXAMPLE = {"domain": "example.com", "selector": "s1"}


def openssl(*arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            ["openssl", *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"openssl cannot do this here: {error}")
    return done.stdout


@pytest.fixture
def pem() -> str:
    return pem_of(RSA, 0).reveal()


def test_the_key_may_be_text_or_bytes_or_a_file(pem: str, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(pem)
    expected = key_for().signing_key.public
    for given in (
        {"key": pem},
        {"key": pem.encode()},
        {"key": pem.replace("\n", "\\n")},
        {"key": path},
        {"key": str(path)},
        {"key_file": path},
        {"key_file": str(path)},
    ):
        (key,) = Options(dkim=EXAMPLE | given).dkim or ()
        assert key.signing_key.public == expected


def test_equal_settings_give_equal_options_with_equal_hashes(pem: str) -> None:
    one, two = (Options(dkim=[EXAMPLE | {"key": pem, "senders": ["a.test"]}]) for _ in "12")
    assert one == two
    assert hash(one) == hash(two)
    assert one != Options(dkim=EXAMPLE | {"key": pem})
    assert one.replace(host="mail") == two.replace(host="mail")


def test_settings_may_be_a_dkim_object_or_a_list_of_both(pem: str) -> None:
    options = Options(dkim=[key_for(), {"domain": "b.test", "selector": "s", "key": pem}])
    assert [key.record_name for key in options.dkim or ()] == [
        "s1._domainkey.example.com", "s._domainkey.b.test",
    ]  # fmt: skip


def test_domains_are_written_in_ascii_and_lower_case(pem: str) -> None:
    (key,) = Options(dkim={"domain": "BÜCHER.Example.", "selector": "S", "key": pem}).dkim or ()
    assert key.record_name == "S._domainkey.xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"selector": "s\r\nX: y"}, r"selector='s\\r\\nX: y' contains white space or a control"),
        ({"selector": "s 1"}, "selector='s 1' contains white space"),
        ({"selector": "s;d=x"}, "selector must consist of letters"),
        ({"selector": ""}, "selector must consist of letters"),
        ({"selector": 7.5}, "selector must be text, got float"),
        ({"domain": "example.com\n"}, r"domain='example.com\\n' contains white space"),
        ({"domain": "-x.com"}, "domain must consist of letters"),
        ({"domain": "x" * 64 + ".com"}, "domain must consist of letters"),
        ({"selector": ".".join(["s" * 60] * 4)}, "longer than 253 octets"),
        ({"domain": None}, "dkim: domain is missing"),
        ({"selectr": "s"}, "unknown name 'selectr': did you mean 'selector'"),
        ({"key_file": "key.pem"}, "key and key_file are set"),
        ({"key": None}, "no key is set for s1._domainkey.example.com"),
        ({"key": 5}, "key must be PEM text, a path or a callable, got int"),
        ({"key": None, "key_file": "nowhere.pem"}, "'nowhere.pem' of s1._domainkey.example.com"),
        ({"key": None, "sign": "x"}, "sign must be a callable, got str"),
        ({"key": None, "sign": len, "algorithm": "rsa-sha1"}, "got 'rsa-sha1'"),
        ({"algorithm": "rsa-sha256"}, "algorithm is for sign only"),
        ({"canonicalization": "strict"}, "canonicalization must be one of .* got 'strict'"),
        ({"senders": ["a b.test"]}, "domain='a b.test' contains white space"),
        ({"senders": 5.5}, "senders must be a list of texts, got float"),
        ({"fields": ["a b"]}, "'a b', which is not a field name"),
        ({"fields": ["Received"]}, "'Received', which changes or is removed on the way"),
        ({"fields": ["a;b=c"]}, "not a field name"),
    ],
)
def test_a_wrong_value_is_refused_with_a_fix(pem: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        Options(dkim=EXAMPLE | {"key": pem} | given)
    assert str(caught.value).startswith("dkim")


@pytest.mark.parametrize("given", ["text", 5, [5], [["x"]], b"x", object()])
def test_anything_but_dictionaries_is_refused(given: object) -> None:
    with pytest.raises(ConfigurationError, match=r"dkim must be a dictionary or a list"):
        Options(dkim=given)


def test_a_key_that_is_listed_twice_is_refused(pem: str) -> None:
    with pytest.raises(ConfigurationError, match="listed twice"):
        Options(dkim=[EXAMPLE | {"key": pem}] * 2)


def test_a_key_in_a_url_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="dkim is an object"):
        Options.from_url("smtp://localhost?dkim=x")


def small_key() -> str:
    return openssl("genrsa", "512")


def public_key() -> str:
    key = key_for().signing_key.public
    assert key is not None
    return f"-----BEGIN PUBLIC KEY-----\n{key.base64}\n-----END PUBLIC KEY-----\n"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (small_key, "has 512 bits, and must have from 1024 to 4096"),
        (public_key, "is a public key: give the private key"),
        (lambda: openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout"), "must be RSA or"),
        (
            lambda: openssl("genpkey", "-algorithm", "RSA", "-aes256", "-pass", "pass:hunter2"),
            "is encrypted: remove its passphrase",
        ),
        (lambda: pem_of(RSA, 0).reveal()[:600] + "-----END PRIVATE KEY-----", "cannot be read"),
        (lambda: pem_of(RSA, 0).reveal()[30:], "is not PEM text"),
        (lambda: "-----BEGIN OPENSSH PRIVATE KEY-----\nx", "is in OpenSSH's format"),
        (lambda: "", "is not PEM text"),
    ],
)
@pytest.mark.parametrize("by_file", [True, False])
def test_an_unusable_key_is_refused_at_start_by_its_name_and_file(
    make: Any, words: str, by_file: bool, tmp_path: Path
) -> None:
    given: dict[str, object] = {"key": make()}
    if by_file:
        path = tmp_path / "bad.pem"
        path.write_text(make())
        given = {"key_file": path}
    with pytest.raises(ConfigurationError, match=words) as caught:
        Mailer(dkim=EXAMPLE | given)
    assert "s1._domainkey.example.com" in str(caught.value)
    assert ("bad.pem" in str(caught.value)) == by_file


@pytest.mark.parametrize("algorithm", [RSA, ED25519])
def test_no_error_and_no_text_shows_a_key(algorithm: str, tmp_path: Path) -> None:
    pem = pem_of(algorithm, 0).reveal()
    body = "".join(pem.splitlines()[1:-1])
    probe = body[20:44]
    shown: list[str] = []
    wrong: list[dict[str, Any]] = [
        {"key": body},  # no PEM: a key in base64
        {"key": pem, "selector": "a b"},
        {"key": pem, "key_file": tmp_path},
        {"kee": pem},
        {"key_file": pem},
        {"key": pem.replace("PRIVATE", "PUBLIC")},
        {"key": pem[:-40]},
        {"senders": pem, "key": 1},
    ]
    for given in wrong:
        for make in (lambda **options: Options(**options), lambda **o: DKIM(**o["dkim"])):
            with pytest.raises(ConfigurationError) as caught:
                make(dkim=EXAMPLE | given)
            shown += texts_of(caught.value)
    options = Options(dkim=EXAMPLE | {"key": pem})
    (key,) = options.dkim or ()
    shown += [repr(options), str(options), repr(key), repr(key.signing_key), repr(vars(key))]
    shown += [repr(vars(options)), repr(Mailer(dkim=key)), repr(options.signer)]
    with pytest.raises(TypeError):
        pickle.dumps(options)
    for text in shown:
        assert probe not in "".join(text.split()).replace("\\n", ""), text[:300]


def texts_of(error: BaseException) -> Iterator[str]:
    """The error, its traceback, and the variables of each frame of ours."""
    seen: BaseException | None = error
    while seen is not None:
        yield from (str(seen), repr(seen), "".join(traceback.format_exception(seen)))
        for frame, _ in traceback.walk_tb(seen.__traceback__):
            if frame.f_globals.get("__name__", "").startswith("mailbackends"):
                for value in frame.f_locals.values():
                    yield repr(list(value.values()) if isinstance(value, dict) else value)
        seen = seen.__cause__ or seen.__context__


def test_without_cryptography_the_error_names_the_extra(
    pem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from mailbackends.dkim.keys import load_key

    load_key.cache_clear()
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(ConfigurationError, match=r'pip install "mailbackends\[dkim\]"'):
        Options(dkim=EXAMPLE | {"key": pem})
    load_key.cache_clear()
