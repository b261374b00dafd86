"""The envelope: from a message's fields, or as given."""

from email.message import EmailMessage, Message

import pytest

from mailbackends.errors import InvalidAddressError, InvalidMessageError
from mailbackends.protocol.envelope import Envelope, from_message


def message(kind=EmailMessage, **fields):
    made = kind()
    for name, value in fields.items():
        made[name.replace("_", "-")] = value
    return made


@pytest.mark.parametrize("kind", [EmailMessage, Message])
def test_the_sender_is_from_and_the_recipients_are_to_cc_and_bcc_in_this_order(kind):
    made = message(kind, From="Me <me@x>", Cc="c@x", Bcc="d@x", To="a@x, B <b@x>")
    assert from_message(made) == Envelope("me@x", ("a@x", "b@x", "c@x", "d@x"))


def test_sender_takes_precedence_over_from_and_the_first_of_several_addresses_is_used():
    assert from_message(message(From="a@x, b@x", Sender="s@x", To="t@x")).reverse_path == "s@x"
    assert from_message(message(From="a@x, b@x", To="t@x")).reverse_path == "a@x"


@pytest.mark.parametrize("sender", ["", "undisclosed:;"])
def test_an_empty_sender_field_is_ignored(sender):
    made = message(Message, Sender=sender, From="me@x", To="a@x")
    assert from_message(made).reverse_path == "me@x"


def test_of_a_resent_message_the_resent_fields_count():
    made = message(From="a@x", To="b@x", Bcc="c@x")
    made["Resent-Date"] = "Thu, 1 Jan 2026 00:00:00 +0000"
    made["Resent-From"] = "d@x"
    made["Resent-To"] = "e@x"
    assert from_message(made) == Envelope("d@x", ("e@x",))


def test_more_than_one_resent_block_is_ambiguous():
    made = message(Message, From="a@x", To="b@x")
    for _ in range(2):
        made["Resent-Date"] = "Thu, 1 Jan 2026 00:00:00 +0000"
    with pytest.raises(InvalidMessageError, match="more than one 'Resent-' header block"):
        from_message(made)


def test_given_addresses_take_precedence_over_the_fields():
    made = message(From="a@x", To="b@x")
    assert from_message(made, "c@x", ["D <d@x>"]) == Envelope("c@x", ("d@x",))
    assert from_message(made, "c@x", "d@x") == Envelope("c@x", ("d@x",))
    assert from_message(None, "c@x", ("d@x",)) == Envelope("c@x", ("d@x",))


@pytest.mark.parametrize("null", ["", "<>"])
def test_the_null_reverse_path_is_empty(null):
    assert from_message(None, null, "a@x").reverse_path == ""


@pytest.mark.parametrize("made", [None, message(To="a@x"), message(From="team:;", To="a@x")])
def test_without_a_sender_there_is_an_error(made):
    with pytest.raises(InvalidMessageError, match="no sender: give from_addr, or a From field"):
        from_message(made, None, "a@x" if made is None else None)


@pytest.mark.parametrize("made", [None, message(From="a@x"), message(From="a@x", To="nobody:;")])
def test_without_recipients_there_is_an_error(made):
    with pytest.raises(InvalidMessageError, match="no recipients: give to_addrs"):
        from_message(made, "a@x")


def test_an_empty_list_of_recipients_is_an_error():
    with pytest.raises(InvalidMessageError, match="no recipients"):
        from_message(message(From="a@x", To="b@x"), to_addrs=[])


@pytest.mark.parametrize("field", ["From", "To", "Cc", "Bcc"])
def test_an_unreadable_field_is_named(field):
    fields = {"From": "a@x", "To": "b@x", field: "a@x b@x"}
    with pytest.raises(InvalidAddressError, match=f"the {field} field"):
        from_message(message(**fields))


def test_an_address_is_used_once_however_its_domain_is_written():
    given = ["a@Bücher.example", "a@xn--bcher-kva.example", "A@bücher.example", "b@X", "b@x", "r"]
    # The local part belongs to its server, and its case may mean something there.
    assert from_message(None, "", given).forward_paths == (
        "a@Bücher.example",
        "A@bücher.example",
        "b@X",
        "r",
    )


@pytest.mark.parametrize(
    ("sender", "recipient", "needs"),
    [
        ("a@x", "b@x", False),
        ("a@bücher.example", "b@bücher.example", False),
        ("ä@x", "b@x", True),
        ("a@x", "ä@bücher.example", True),
    ],
)
def test_smtputf8_is_needed_for_a_local_part_only(sender, recipient, needs):
    assert Envelope(sender, (recipient,)).needs_smtputf8 is needs


def test_domains_are_sent_as_a_labels():
    envelope = Envelope("a@x", ("b@x",))
    assert envelope.on_wire("b@x") == "b@x"
    assert envelope.on_wire("b@bücher.example") == "b@xn--bcher-kva.example"
