"""Helpers for packages that connect a framework to mailbackends; applications do not need them.

Their interface is as stable as that of ``mailbackends`` itself.

- `LoopMailers` has an `AsyncMailer` for each event loop, and closes it at the end of the loop;
  `settle_when_known` and `settle_in_background` end what a caller has left behind.
- `written_message` writes a message at once, without the email package's objects, and returns a
  `WrittenMessage`, which `mailbackends.Mailer` sends like a message object. What it writes are
  header fields, and a `TextPart` or `FilePart` or several of them: `composed` puts alternatives
  and files around a body, `with_images` the images into its HTML. A `LegacyLayout` writes and
  builds them like the classes in ``email.mime``, and not like `email.message.EmailMessage`.
- `checked_policy` makes a policy of the email package write fields as `mailbackends.Mailer` does.
- `plain_address` reads the addresses that need no parser; `to_ascii` writes the domain of an
  address as A-labels; `check_visible` refuses invisible characters in an address;
  `is_field_name` checks the name of a header field.
- `encoded_words` writes text for a header field (RFC 2047).
- `plain_text` evaluates lazy strings, such as those of Flask-Babel.
- `Staging` decides who gets mail on a staging system, and `SendCancelled` stops a message.
- `inline_styles` and `text_of` make HTML ready for mail programs, where the libraries for it, which
  `require_libraries` checks, are installed.
- `unsubscribe_fields` makes the fields of RFC 8058, and `mailbackends.unsubscribe` has the page for
  their link, its token's `Subscription`, and the checks of settings.
- `nearest` finds the known name that a misspelled one is closest to; `did_you_mean` is the end
  of an error text with it.
- `hide_secrets` makes a `mailbackends.Secret` of each secret among given options, before
  anything can fail and show it in the variables of a traceback; `server_urls` does so with
  the URLs in a setting.
- `Wording` has the words of an interface for error texts: what it calls the options. It is the
  value of ``Options.wording``.
"""

from __future__ import annotations

from mailbackends.mailer.leaving import settle_in_background, settle_when_known
from mailbackends.mailer.loops import LoopMailers
from mailbackends.mailer.option_table import hide_secrets
from mailbackends.mailer.url import server_urls
from mailbackends.mime.address import check_visible, plain_address, to_ascii
from mailbackends.mime.folding import checked_policy
from mailbackends.mime.headers import is_field_name
from mailbackends.mime.legacy import LegacyLayout
from mailbackends.mime.parts import FilePart, Multipart, Part, TextPart, composed, with_images
from mailbackends.mime.words import LINE_LENGTH, encoded_words
from mailbackends.mime.writer import WrittenMessage, written_message
from mailbackends.rendering import can_make_text, inline_styles, require_libraries, text_of
from mailbackends.staging import ORIGINAL_RECIPIENTS, SendCancelled, Staging
from mailbackends.texts import did_you_mean, nearest, plain_text
from mailbackends.unsubscribe import (
    UNSUBSCRIBE_HEADERS,
    UNSUBSCRIBE_PAGE,
    UNSUBSCRIBE_TEMPLATE,
    InvalidToken,
    Subscription,
    check_unsubscribe_stream,
    check_unsubscribe_url,
    only_recipient,
    unsubscribe_fields,
    unsubscribe_page_values,
    with_unsubscribe_fields,
)
from mailbackends.wording import Wording

__all__ = [
    "LINE_LENGTH",
    "ORIGINAL_RECIPIENTS",
    "UNSUBSCRIBE_HEADERS",
    "UNSUBSCRIBE_PAGE",
    "UNSUBSCRIBE_TEMPLATE",
    "FilePart",
    "InvalidToken",
    "LegacyLayout",
    "LoopMailers",
    "Multipart",
    "Part",
    "SendCancelled",
    "Staging",
    "Subscription",
    "TextPart",
    "Wording",
    "WrittenMessage",
    "can_make_text",
    "check_unsubscribe_stream",
    "check_unsubscribe_url",
    "check_visible",
    "checked_policy",
    "composed",
    "did_you_mean",
    "encoded_words",
    "hide_secrets",
    "inline_styles",
    "is_field_name",
    "nearest",
    "only_recipient",
    "plain_address",
    "plain_text",
    "require_libraries",
    "server_urls",
    "settle_in_background",
    "settle_when_known",
    "text_of",
    "to_ascii",
    "unsubscribe_fields",
    "unsubscribe_page_values",
    "with_images",
    "with_unsubscribe_fields",
    "written_message",
]
