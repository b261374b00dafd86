"""Previews: which mails there are, and what each looks like on the wire."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from mailbackends.previews import Previews, as_content


def message(subject: str = "Hello") -> EmailMessage:
    made = EmailMessage()
    made["Subject"] = subject
    made.set_content("Text\n")
    return made


def test_previews_are_ordered_by_group_and_registration() -> None:
    previews = Previews()

    @previews("Order confirmation", group="Orders")
    def order_confirmation() -> EmailMessage:
        """What a customer gets."""
        return message()

    @previews
    def password_reset() -> EmailMessage:
        return message()

    @previews(group="Orders", name="Parcel Sent!")
    def parcel() -> EmailMessage:
        return message()

    assert [(one.name, one.title, one.group) for one in previews] == [
        ("order_confirmation", "Order confirmation", "Orders"),
        ("parcel-sent", "Parcel", "Orders"),
        ("password_reset", "Password reset", ""),
    ]
    found = previews.get("order_confirmation")
    assert found is not None
    assert found.description == "What a customer gets."
    assert b"Subject: Hello\r\n" in found.content()
    assert previews.get("nothing") is None
    # The decorator leaves the function as it is: the application calls it too.
    assert order_confirmation()["Subject"] == "Hello"


def test_a_reloaded_module_registers_its_functions_once() -> None:
    previews = Previews()
    for subject in ("Old", "New"):

        @previews("Mail", name="mail")
        def mail(subject: str = subject) -> EmailMessage:
            return message(subject)

    (one,) = previews
    assert b"Subject: New" in one.content()


class Framework:
    """A message as Django has it."""

    def message(self) -> EmailMessage:
        return message("Django's")


class Other:
    """A message as Flask has it."""

    def as_bytes(self) -> bytes:
        return b"Subject: Flask's\n\nText\n"


@pytest.mark.parametrize(
    ("given", "begins"),
    [
        (b"Subject: bytes\r\n\r\n", b"Subject: bytes\r\n"),
        (message(), b"Subject: Hello\r\n"),
        (Framework(), b"Subject: Django's\r\n"),
        (Other(), b"Subject: Flask's\r\n\r\nText\r\n"),
    ],
)
def test_messages_of_all_frameworks_become_bytes(given: object, begins: bytes) -> None:
    assert as_content(given).startswith(begins)


def test_a_function_that_returns_no_message_is_an_error() -> None:
    with pytest.raises(TypeError, match="got NoneType"):
        as_content(None)
