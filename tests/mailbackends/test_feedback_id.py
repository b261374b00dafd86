"""`feedback_id`: the value of Gmail's Feedback-ID."""

from __future__ import annotations

import pytest

from mailbackends import InvalidMessageError, feedback_id


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (("sender",), "sender"),
        (("shop1",), "shop1"),
        (("123456789012345",), "123456789012345"),
        (("shop-news", "spring", "welcome"), "spring:welcome:shop-news"),
        (("shop-news", "a", "b", "c"), "a:b:c:shop-news"),
    ],
)
def test_the_id_of_the_sender_comes_last(arguments: tuple[str, ...], value: str) -> None:
    assert feedback_id(*arguments) == value


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("shop",), "5 to 15 characters, got 'shop' with 4"),
        (("1234567890123456",), "with 16"),
        (("shop-news", "a", "b", "c", "d"), "at most 3 ids beside sender_id, got 4"),
        (("shop-news", ""), "not empty, got ''"),
        (("shop-news", "a:b"), "without spaces and colons"),
        (("shop-news", "a b"), "without spaces and colons"),
        (("shop news",), "sender_id must be ASCII"),
        (("shop-news", "caf\xe9"), "must be ASCII"),
        (("shop-news", "a\r\nBcc"), "an id must be ASCII"),
        (("shop-news", "a", "a"), "each id must occur once"),
        (("shop-news", "shop-news"), "each id must occur once"),
        ((12345,), "sender_id must be ASCII"),
    ],
)
def test_what_gmail_would_not_count_is_an_error(arguments, words: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        feedback_id(*arguments)
    assert words in str(caught.value)
