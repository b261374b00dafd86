"""The parameters of MAIL and RCPT: each by its RFC, before a byte is sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends.errors import InvalidMessageError, Outcome, SMTPNotSupportedError
from mailbackends.protocol.command import mail
from mailbackends.protocol.extensions import Extensions
from mailbackends.protocol.parameters import check_supported, checked_parameters, keyword_of


@pytest.mark.parametrize(
    "parameter",
    [
        "SIZE=0",
        "SIZE=12345678901234567890",
        "size=1",
        "BODY=7BIT",
        "BODY=8bitmime",
        "SMTPUTF8",
        "AUTH=<>",
        "AUTH=e+3Dmc2@example.com",
        "RET=FULL",
        "ret=hdrs",
        "ENVID=QQ314159",
        "ENVID=order+20+2B1",
        "ENVID=" + "x" * 100,
        "REQUIRETLS",
        "BY=1;R",
        "BY=120;R",
        "BY=+120;RT",
        "BY=-240;N",
        "BY=0;NT",
        "MT-PRIORITY=0",
        "MT-PRIORITY=-9",
        "MT-PRIORITY=9",
        "HOLDFOR=1",
        "HOLDFOR=999999999",
        "HOLDUNTIL=2027-01-01T00:00:00Z",
        "HOLDUNTIL=2027-01-01T00:00:00.5Z",
        # Not known here: for the server to judge.
        "X-SOMETHING",
        "SUBMITTER=a@example.com",
        "TRANSID=<1@x>",
    ],
)
def test_valid_parameters_of_mail_pass(parameter):
    assert checked_parameters("MAIL", [parameter]) == (parameter,)


@pytest.mark.parametrize(
    "parameter",
    [
        "NOTIFY=NEVER",
        "NOTIFY=SUCCESS",
        "notify=success,failure,delay",
        "ORCPT=rfc822;a@example.com",
        "ORCPT=utf-8;\\x{E4}@example.com",
        "RRVS=2014-04-03T23:01:00Z",
    ],
)
def test_valid_parameters_of_rcpt_pass(parameter):
    assert checked_parameters("RCPT", [parameter]) == (parameter,)


@pytest.mark.parametrize(
    ("parameter", "form"),
    [
        ("SIZE", "SIZE=<bytes>"),
        ("SIZE=", "KEYWORD=value"),
        ("SIZE=1e3", "SIZE=<bytes>"),
        ("SIZE=-1", "SIZE=<bytes>"),
        ("SIZE=123456789012345678901", "SIZE=<bytes>"),
        ("BODY=9BIT", "BODY=7BIT or BODY=8BITMIME"),
        ("SMTPUTF8=yes", "SMTPUTF8"),
        ("AUTH=me+3d", "AUTH=<> or AUTH="),
        ("AUTH=a+b", "AUTH=<> or AUTH="),
        ("RET=HEADERS", "RET=FULL or RET=HDRS"),
        ("ENVID=" + "x" * 101, "at most 100 characters"),
        ("ENVID=a+0Ab", "ENVID=<xtext"),
        ("ENVID=a+7F", "ENVID=<xtext"),
        ("REQUIRETLS=1", "REQUIRETLS"),
        ("BY=120", "BY=<seconds>;N"),
        ("BY=0;R", "BY=<seconds>;N"),
        ("BY=-5;rt", "BY=<seconds>;N"),
        ("BY=1234567890;N", "BY=<seconds>;N"),
        ("MT-PRIORITY=10", "-9 to 9"),
        ("MT-PRIORITY=-0", "-9 to 9"),
        ("MT-PRIORITY=+3", "-9 to 9"),
        ("HOLDFOR=0", "HOLDFOR=<seconds>"),
        ("HOLDFOR=1000000000", "HOLDFOR=<seconds>"),
        ("HOLDUNTIL=2027-01-01", "YYYY-MM-DDThh:mm:ssZ"),
        ("HOLDUNTIL=2027-02-30T00:00:00Z", "YYYY-MM-DDThh:mm:ssZ"),
        ("HOLDUNTIL=2027-01-01T00:00:00+01:00", "YYYY-MM-DDThh:mm:ssZ"),
    ],
)
def test_an_invalid_parameter_of_mail_is_named_with_its_correct_form(parameter, form):
    with pytest.raises(InvalidMessageError) as caught:
        checked_parameters("MAIL", [parameter])
    assert parameter in str(caught.value)
    assert form in str(caught.value)
    assert caught.value.outcome is Outcome.NOT_SENT


@pytest.mark.parametrize(
    ("parameter", "form"),
    [
        ("NOTIFY", "NOTIFY=NEVER"),
        ("NOTIFY=ALWAYS", "NOTIFY=NEVER"),
        ("NOTIFY=NEVER,SUCCESS", "NOTIFY=NEVER"),
        ("NOTIFY=SUCCESS,SUCCESS", "NOTIFY=NEVER"),
        ("NOTIFY=SUCCESS,", "NOTIFY=NEVER"),
        ("ORCPT=a@example.com", "ORCPT=rfc822;"),
        ("ORCPT=rfc822;a+b@example.com", "ORCPT=rfc822;"),
        ("ORCPT=rfc822;" + "x" * 501, "ORCPT=rfc822;"),
    ],
)
def test_an_invalid_parameter_of_rcpt_is_named_with_its_correct_form(parameter, form):
    with pytest.raises(InvalidMessageError, match="not valid") as caught:
        checked_parameters("RCPT", [parameter])
    assert form in str(caught.value)


@pytest.mark.parametrize(
    ("verb", "parameter", "fix"),
    [
        ("MAIL", "NOTIFY=NEVER", "belongs to RCPT: give it in rcpt_options"),
        ("RCPT", "RET=FULL", "belongs to MAIL: give it in mail_options"),
    ],
)
def test_the_error_says_which_option_a_misplaced_parameter_belongs_to(verb, parameter, fix):
    with pytest.raises(InvalidMessageError, match=fix):
        checked_parameters(verb, [parameter])


def test_binary_content_cannot_be_sent():
    with pytest.raises(InvalidMessageError, match="base64"):
        checked_parameters("MAIL", ["BODY=BINARYMIME"])


@pytest.mark.parametrize("twice", [["SIZE=1", "size=2"], ["X-A", "x-a=1"]])
def test_a_keyword_may_be_given_once(twice):
    with pytest.raises(InvalidMessageError, match="more than once"):
        checked_parameters("MAIL", twice)


def test_hold_for_and_hold_until_contradict_each_other():
    with pytest.raises(InvalidMessageError, match="contradict"):
        checked_parameters("MAIL", ["HOLDFOR=1", "HOLDUNTIL=2027-01-01T00:00:00Z"])


def test_a_string_is_split_into_its_words():
    assert checked_parameters("MAIL", "RET=HDRS  ENVID=1 ") == ("RET=HDRS", "ENVID=1")
    assert checked_parameters("MAIL", "") == ()


@pytest.mark.parametrize(
    "hostile",
    [
        "", " ", "A B", "A\r\nDATA", "A\n", "A\0", "A=b=c", "=a", "-A", "A=\xe4", "A=\u2028",
        "Ä", "A>", "A=\ud800", "A\tB", None, b"SIZE=1", 7,
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
def test_a_parameter_that_could_break_the_line_is_refused(hostile, verb):
    with pytest.raises(InvalidMessageError, match=f"not a parameter of {verb}"):
        checked_parameters(verb, [hostile])


@given(st.lists(st.text(max_size=12) | st.sampled_from(["SIZE=1", "RET=FULL"]), max_size=4))
def test_no_parameter_breaks_the_line(parameters):
    try:
        checked = checked_parameters("MAIL", parameters)
    except InvalidMessageError:
        return
    words = mail("a@x", checked).line.removesuffix(b"\r\n").split(b" ")
    assert words == [b"MAIL", b"FROM:<a@x>", *(p.encode() for p in checked)]


def test_a_keyword_is_compared_in_upper_case():
    assert (keyword_of("size=1"), keyword_of("Smtputf8")) == ("SIZE", "SMTPUTF8")


# --- what the server can do -----------------------------------------------------------

ALL = Extensions(
    {
        "SIZE": "1000",
        "8BITMIME": "",
        "SMTPUTF8": "",
        "AUTH": "PLAIN",
        "DSN": "",
        "REQUIRETLS": "",
        "DELIVERBY": "240",
        "MT-PRIORITY": "",
        "FUTURERELEASE": "86400 2027-01-01T00:00:00Z",
    }
)


@pytest.mark.parametrize(
    ("parameter", "extension"),
    [
        ("SIZE=1", "SIZE"),
        ("BODY=8BITMIME", "8BITMIME"),
        ("SMTPUTF8", "SMTPUTF8"),
        ("AUTH=<>", "AUTH"),
        ("RET=FULL", "DSN"),
        ("envid=1", "DSN"),
        ("NOTIFY=NEVER", "DSN"),
        ("ORCPT=rfc822;a@x", "DSN"),
        ("REQUIRETLS", "REQUIRETLS"),
        ("BY=240;R", "DELIVERBY"),
        ("MT-PRIORITY=1", "MT-PRIORITY"),
        ("HOLDFOR=86400", "FUTURERELEASE"),
        ("HOLDUNTIL=2027-01-01T00:00:00Z", "FUTURERELEASE"),
    ],
)
def test_a_parameter_needs_its_extension(parameter, extension):
    check_supported([parameter], ALL, is_tls=True)
    others = Extensions({k: v for k, v in ALL.keywords.items() if k != extension})
    with pytest.raises(SMTPNotSupportedError, match=f"does not announce {extension}") as caught:
        check_supported(["X-OTHER", parameter], others, is_tls=True)
    assert str(caught.value).startswith(parameter)
    assert caught.value.outcome is Outcome.NOT_SENT


def test_require_tls_needs_tls_even_if_it_is_announced_in_clear():
    with pytest.raises(SMTPNotSupportedError, match="this connection has no TLS"):
        check_supported(["REQUIRETLS"], ALL)


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ("BY=239;R", "minimum is 240 seconds"),
        ("HOLDFOR=86401", "at most 86400 seconds"),
        ("HOLDUNTIL=2027-01-01T00:00:01Z", "until 2027-01-01T00:00:00Z at the latest"),
    ],
)
def test_a_parameter_beyond_an_announced_limit_is_refused(parameter, reason):
    with pytest.raises(SMTPNotSupportedError, match=reason):
        check_supported([parameter], ALL)


@pytest.mark.parametrize("parameter", ["BY=1;N", "BY=-5;NT", "HOLDFOR=1", "SIZE=9999", "X-OTHER"])
def test_a_parameter_within_the_announced_limits_passes(parameter):
    check_supported([parameter], ALL)


@pytest.mark.parametrize("words", ["", "x y", "99999999999 tomorrow", "² 2027-01-01T00:00:00"])
@pytest.mark.parametrize(
    "parameter", ["BY=1;R", "HOLDFOR=999999999", "HOLDUNTIL=9999-01-01T00:00:00Z"]
)
def test_limits_that_cannot_be_read_are_ignored(words, parameter):
    check_supported([parameter], Extensions({"DELIVERBY": words, "FUTURERELEASE": words}))
