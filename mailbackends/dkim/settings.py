"""`DKIM`: one key, and which mail is signed with it."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailbackends.dkim.given import KNOWN, GivenKey, HidesSecrets, hidden
from mailbackends.dkim.keys import ED25519, RSA, SigningKey, load_key, service_key
from mailbackends.errors import ConfigurationError, InvalidAddressError, SigningError
from mailbackends.mime.address import to_a_labels
from mailbackends.mime.headers import is_field_name
from mailbackends.secret import NotText, Secret, SecretCallable
from mailbackends.texts import did_you_mean, plain_text

__all__ = ["DKIM", "keys_from"]

# RFC 6376 section 3.1 and RFC 5321 section 4.1.2; underscores occur in selectors in use.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_LABELS = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_EXAMPLE = "{'domain': 'example.com', 'selector': 's1', 'key_file': 's1.pem'}"
_FORMS = ("relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple")
# These are covered, or must not be: RFC 6376 sections 3.5 and 5.4.
_NEVER_SIGNED = frozenset({"dkim-signature", "return-path", "received", "bcc", "resent-bcc"})


@dataclass(frozen=True, kw_only=True, repr=False)
class DKIM(HidesSecrets):
    """A key that signs mail (RFC 6376, RFC 8463), for the option ``dkim`` of a Mailer.

    The key comes from one of ``key``, ``key_file`` and ``sign``. Equal ones have equal hashes.

    Raises:
        ConfigurationError: a value is unusable. The text names selector and domain, the file
            and the size of the key, and never shows the key.
    """

    domain: str
    """The signing domain (SDID, ``d=``). The record is ``selector._domainkey.domain``."""
    selector: str
    key: Secret | SecretCallable | str | os.PathLike[str] | Callable[[], str] | None = None
    """The private key as PEM text; the path of a file with it; or a callable that returns the
    text, which is called at the first message."""
    key_file: str | os.PathLike[str] | None = None
    """A file with the private key as PEM text. It is read at once."""
    sign: Callable[[bytes], bytes] | None = None
    """In place of a key: returns the signature of a SHA-256 digest, as key management services
    do. PKCS #1 v1.5 for RSA; for Ed25519 the digest is the message (RFC 8463 section 3)."""
    algorithm: str = ""
    """For ``sign``: ``"rsa-sha256"`` (the default) or ``"ed25519-sha256"``. A key has its own."""
    senders: tuple[str, ...] = ()
    """The domains of the From field, with their subdomains, whose mail is signed; ``"*"`` is
    any. Default: the signing domain."""
    canonicalization: str = "relaxed/relaxed"
    """The forms of header and body: ``relaxed`` or ``simple`` each (section 3.4)."""
    fields: tuple[str, ...] = ()
    """Names of further header fields to sign."""
    pem: Secret | None = field(default=None, init=False)
    """The private key, unless only a callable has it."""

    def __repr__(self) -> str:
        return f"<DKIM {vars(self).get('selector')}._domainkey.{vars(self).get('domain')}>"

    def __post_init__(self) -> None:
        put = functools.partial(object.__setattr__, self)
        for name in ("domain", "selector"):
            put(name, _checked_name(name, getattr(self, name)))
        if len(self.record_name) > 253:
            raise ConfigurationError(f"dkim: the name {self.record_name} is longer than 253 octets")
        put("senders", tuple(_checked_sender(s) for s in _texts("senders", self.senders)))
        put("fields", tuple(_checked_field(f) for f in _texts("fields", self.fields)))
        if self.canonicalization not in _FORMS:
            raise ConfigurationError(
                f"dkim: canonicalization must be one of {', '.join(map(repr, _FORMS))}, "
                f"got {self.canonicalization!r}"
            )
        self._check_source()
        put("pem", self._pem())
        if self.pem is not None:
            _ = self.signing_key  # raises if it cannot sign

    def _check_source(self) -> None:
        given = [name for name in ("key", "key_file", "sign") if getattr(self, name) is not None]
        if len(given) != 1:
            what = " and ".join(given) + " are set" if given else "no key is set"
            raise ConfigurationError(
                f"dkim: {what} for {self.record_name}: set one of key, key_file and sign"
            )
        if isinstance(self.key, NotText):
            raise ConfigurationError(
                f"dkim: key must be PEM text, a path or a callable, got {_kind(self.key)}"
            )
        if self.sign is not None and not callable(self.sign):
            raise ConfigurationError(
                f"dkim: sign must be a callable, got {_kind(self.sign)}: "
                "give a private key as key or key_file"
            )
        if isinstance(self.key_file, NotText):
            raise ConfigurationError(
                f"dkim: key_file must be the path of a PEM file, got {_kind(self.key_file)}: "
                "give PEM text as key"
            )
        algorithms = (RSA, ED25519) if self.sign is not None else ("",)
        if self.sign is not None and not self.algorithm:
            object.__setattr__(self, "algorithm", RSA)
        if self.algorithm not in algorithms:
            if self.sign is None:
                raise ConfigurationError(
                    "dkim: algorithm is for sign only, since a key has its own: leave it out"
                )
            raise ConfigurationError(
                f"dkim: algorithm must be {RSA!r} or {ED25519!r}, got {self.algorithm!r}"
            )

    def _pem(self) -> Secret | None:
        if self.key_file is not None:
            return self._read(self.key_file)
        if isinstance(self.key, os.PathLike):
            return self._read(self.key)
        if isinstance(self.key, Secret):
            path = _path_in(self.key)
            return self.key if path is None else self._read(path)
        return None

    def _read(self, path: str | os.PathLike[str]) -> Secret:
        try:
            return Secret(Path(path).read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, TypeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise ConfigurationError(
                f"dkim: key_file {os.fspath(path)!r} of {self.record_name} cannot be read: "
                f"{reason}: give the path of a PEM file that this process may read"
            ) from None

    @property
    def record_name(self) -> str:
        """The name of the TXT record with the public key."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def is_local(self) -> bool:
        """True if signing computes only. A callable may ask a service over the network."""
        return self.pem is not None

    @functools.cached_property
    def signing_key(self) -> SigningKey:
        """The key, loaded when it is first needed.

        Raises:
            ConfigurationError: it may not sign.
            SigningError: the callable that should return it failed.
        """
        pem = self.pem
        if self.sign is not None:
            return service_key(self.algorithm, self.sign)
        try:
            if pem is None and isinstance(self.key, SecretCallable):
                pem = Secret(self.key())
        except Exception as error:
            raise SigningError(
                f"no DKIM key for {self.record_name}: the callable raised {type(error).__name__}: "
                "see the exception before this one"
            ) from error
        try:
            return load_key(pem or Secret(""))
        except ConfigurationError as error:
            where = f" in {os.fspath(self.key_file)!r}" if self.key_file is not None else ""
            text = str(error.args[0])
            text = (
                text
                if text.startswith("dkim ")
                else (f"dkim: the key of {self.record_name}{where} {text}")
            )
            raise ConfigurationError(text) from None

    def match(self, domain: str) -> int:
        """How specifically this key is meant for mail from ``domain``, in lower case.

        The length of the sender's domain that matches; 0 if none does, and -1 for ``"*"``.
        """
        best = 0
        for sender in self.senders or (self.domain,):
            if sender == "*":
                return -1
            if domain == sender or domain.endswith(f".{sender}"):
                best = max(best, len(sender))
        return best


def _checked_name(name: str, value: Any) -> str:
    text = plain_text(value)
    if text is None:
        raise ConfigurationError(f"dkim: {name} must be text, got {_kind(value)}")
    if any(ord(c) <= 0x20 or ord(c) == 0x7F for c in text):
        raise ConfigurationError(
            f"dkim: {name}={text!r} contains white space or a control character: remove it"
        )
    if name == "domain":
        text = _a_labels(text).rstrip(".").lower()
    if not _LABELS.fullmatch(text) or len(text) > 253:
        example = "'example.com'" if name == "domain" else "'s1'"
        raise ConfigurationError(
            f"dkim: {name} must consist of letters, digits, hyphens and dots, such as {example}, "
            f"got {text[:300]!r}"
        )
    return text


def _kind(value: object) -> str:
    return value.kind if isinstance(value, NotText) else type(value).__name__


def _checked_sender(text: str) -> str:
    if text == "*":
        return text
    if "@" in text:
        raise ConfigurationError(
            f"dkim: senders are domains, got {text!r}: write {text.rpartition('@')[2]!r}"
        )
    return _checked_name("domain", text.removeprefix("*."))


def _a_labels(domain: str) -> str:
    try:
        return domain if domain.isascii() else to_a_labels(domain)
    except InvalidAddressError as error:
        raise ConfigurationError(f"dkim: {error.args[0]}") from error


def _texts(name: str, value: Any) -> tuple[str, ...]:
    items = (value,) if plain_text(value) is not None else value
    try:
        texts = [plain_text(item) for item in items]
    except TypeError:
        texts = [None]
    if None in texts:
        raise ConfigurationError(f"dkim: {name} must be a list of texts, got {_kind(value)}")
    return tuple(text for text in texts if text is not None)


def _checked_field(name: str) -> str:
    if not is_field_name(name) or ";" in name:
        raise ConfigurationError(f"dkim: fields contains {name!r}, which is not a field name")
    if name.lower() in _NEVER_SIGNED:
        raise ConfigurationError(
            f"dkim: fields contains {name!r}, which changes or is removed on the way: remove it"
        )
    return name.lower()


def _path_in(key: Secret) -> str | None:
    """The path, where a key was given as the path of an existing file."""
    text = key.reveal()
    if "-----" in text or "\n" in text or len(text) > 1000:
        return None
    return text if os.path.isfile(text) else None


def _without_secrets(generated: Callable[..., None]) -> Callable[..., None]:
    """The generated ``__init__``, called with the secrets hidden: see `hide_secrets`."""

    @functools.wraps(generated)
    def __init__(self: DKIM, **given: Any) -> None:
        given = {name: hidden(name, value) for name, value in given.items()}
        _check_names(given)
        generated(self, **given)

    return __init__


if not TYPE_CHECKING:
    DKIM.__init__ = _without_secrets(DKIM.__init__)


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if name not in KNOWN:
            raise ConfigurationError(f"dkim: unknown name {name!r}: {did_you_mean(name, KNOWN)}")


def keys_from(value: Any) -> tuple[DKIM, ...]:
    """The keys in the value of the option ``dkim``: a `DKIM`, a dictionary, or a list of them.

    ``value`` is the result of `hide_dkim`.

    Raises:
        ConfigurationError: one is unusable, or two sign alike.
    """
    given = value if isinstance(value, tuple) else (value,)
    keys = tuple(_key_from(each) for each in given)
    names = [(key.record_name, key.senders) for key in keys]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"dkim: {name[0]} is listed twice: remove one")
    return keys


def _key_from(given: Any) -> DKIM:
    if isinstance(given, DKIM):
        return given
    if not isinstance(given, GivenKey):
        raise ConfigurationError(
            "dkim must be a dictionary or a list of dictionaries, "
            f"got {_kind(given)}: write {_EXAMPLE}"
        )
    items = dict(given.items)
    _check_names(items)
    for name in ("domain", "selector"):
        if items.get(name) is None:
            raise ConfigurationError(f"dkim: {name} is missing: write {_EXAMPLE}")
    return DKIM(**{name: each for name, each in items.items() if each is not None})
