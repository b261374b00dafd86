"""International domains: A-labels with the idna package and without it, and nothing else."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends.errors import InvalidAddressError
from mailbackends.mime.address import to_a_labels, to_ascii


@pytest.fixture(params=["codec", "package"])
def either_way(request, monkeypatch):
    if request.param == "codec":
        monkeypatch.setitem(sys.modules, "idna", None)
    else:
        pytest.importorskip("idna")
    return request.param


@pytest.mark.parametrize(
    ("domain", "labels"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("Bücher.Example", "xn--bcher-kva.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("bücher。example", "xn--bcher-kva.example"),
        ("\uff45xample.com", "example.com"),
        ("bücher.example.", "xn--bcher-kva.example."),
        ("mail.bücher.example", "mail.xn--bcher-kva.example"),
    ],
)
def test_the_codec_and_the_package_give_the_same_a_labels(either_way, domain, labels):
    assert to_a_labels(domain).lower() == labels


# Compatibility mapping makes ">", " ", "@" and "/" of these.
@pytest.mark.parametrize(
    "domain",
    [
        "exa\uff1emple.com",
        "a\uff1e\u3000NOTIFY=NEVER",
        "a\uff20b.example",
        "\u2100.example",
        "a\uff1cb.example",
        "a\uff02b.example",
        "a\u3000b.example",
        "\uff03.example",
        "a\uff0d.é",
        "ü..example",
        ".ü",
        "ü" * 64 + ".example",
        "ü.b" * 200,
        "\ufffd.example",
        "\u200b",
    ],
)
def test_a_domain_without_a_labels_is_refused(either_way, domain):
    with pytest.raises(InvalidAddressError):
        to_a_labels(domain)


def test_a_domain_that_idna_2003_would_change_needs_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "idna", None)
    with pytest.raises(InvalidAddressError, match=r"install the idna package"):
        to_a_labels("straße.example")


def test_the_package_implements_idna_2008():
    pytest.importorskip("idna")
    assert to_a_labels("straße.example") == "xn--strae-oqa.example"


def test_characters_newer_than_unicode_3_2_need_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "idna", None)
    with pytest.raises(InvalidAddressError, match=r"install the idna package"):
        to_a_labels("ⱥ.example")


@given(st.text(max_size=20))
def test_any_text_gives_letters_digits_hyphens_and_dots_or_an_error(text):
    try:
        labels = to_a_labels(text)
    except InvalidAddressError:
        return
    assert set(labels) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    assert len(labels) <= 255


@pytest.mark.parametrize(
    ("path", "on_wire"),
    [
        ("a@example.com", "a@example.com"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("jörg@bücher.example", "jörg@xn--bcher-kva.example"),
        ("jörg", "jörg"),
        ('"ü@b"@example.com', '"ü@b"@example.com'),
        ("", ""),
    ],
)
def test_a_path_gets_a_labels_and_keeps_its_local_part(path, on_wire):
    assert to_ascii(path) == on_wire
