"""Runs the samples of docs/parameters.md, and checks its table."""

import re

import pytest
from project.source import ROOT

from mailbackends import delivery_options
from mailbackends.protocol.envelope import from_message
from mailbackends.protocol.extensions import Extensions
from mailbackends.protocol.negotiation import prepare
from mailbackends.protocol.parameters import checked_parameters

PAGE = (ROOT / "docs/parameters.md").read_text("utf-8")
SAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
SERVER = Extensions(
    {"SIZE": "", "DSN": "", "REQUIRETLS": "", "DELIVERBY": "", "MT-PRIORITY": "",
     "FUTURERELEASE": "86400 2030-01-01T00:00:00Z"}
)  # fmt: skip


class Mailer:
    """Takes a message as the real one, and keeps the parameters that it would send."""

    def __init__(self):
        self.parameters = []

    def send_message(self, message, mail_options=(), rcpt_options=()):
        envelope = from_message(None, "me@x", "you@x")
        mail = checked_parameters("MAIL", mail_options)
        rcpt = checked_parameters("RCPT", rcpt_options)
        envelope = type(envelope)(envelope.reverse_path, envelope.forward_paths, mail, rcpt)
        found = prepare(message, envelope, SERVER, is_tls=True).envelope
        self.parameters.append((found.mail_parameters, found.rcpt_parameters))


def run(sample):
    mailer = Mailer()
    exec(sample, {"mailer": mailer, "message": b"hi", "reminder": b"hi"})  # noqa: S102 - our own
    return mailer.parameters


def test_the_samples_of_the_page_work():
    first, second = SAMPLES
    assert run(first) == [(("SIZE=4", "RET=HDRS", "ENVID=order-4711"), ())]
    assert run(second) == [
        (
            ("SIZE=4", "RET=HDRS", "ENVID=order+204711", "REQUIRETLS"),
            ("NOTIFY=FAILURE,DELAY",),
        ),
        (("SIZE=4", "HOLDFOR=43200"), ()),
    ]


ROWS = re.findall(r"^\| `(\w+)=[^|]*\| `([^|]*)` \|", PAGE, re.M)


@pytest.mark.parametrize(("argument", "parameters"), ROWS)
def test_each_argument_results_in_the_parameter_of_its_row(argument, parameters):
    example = {
        "notify": "never",
        "return_content": "full",
        "envelope_id": "1",
        "original_recipient": "a@x",
        "deliver_within": 60,
        "priority": 1,
        "hold": 60,
        "require_tls": True,
    }[argument]
    options = delivery_options(**{argument: example})
    given = " ".join([*options["mail_options"], *options["rcpt_options"]])
    assert any(given.startswith(each.strip("` ")) for each in parameters.split(","))


def test_the_table_has_a_row_for_each_argument():
    known = set(delivery_options.__kwdefaults__) - {"when_late"}
    assert {argument for argument, _ in ROWS} == known
