"""xtext: any ASCII text as the value of a parameter (RFC 3461 section 4)."""

from __future__ import annotations

import re

from mailbackends.errors import InvalidMessageError

__all__ = ["encode_utf8_address", "encode_xtext"]

_PLAIN = re.compile(r"[!-*,-<>-~]")


def encode_xtext(text: str) -> str:
    """The text with a space, ``+``, ``=`` and control characters written as ``+`` and two digits.

    Raises:
        InvalidMessageError: a character is not ASCII: xtext has no form for it.
    """
    if not text.isascii():
        raise InvalidMessageError(f"{text!r} cannot be a parameter's value: only ASCII can")
    return "".join(c if _PLAIN.fullmatch(c) else f"+{ord(c):02X}" for c in text)


def encode_utf8_address(address: str) -> str:
    r"""An address of type ``utf-8`` as it goes to any server (RFC 6533 section 3).

    Each character that is not plain ASCII is written as ``\x{...}``.
    """
    return "".join(
        c if _PLAIN.fullmatch(c) and c != "\\" else f"\\x{{{ord(c):02X}}}" for c in address
    )
