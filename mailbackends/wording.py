"""What each interface calls the settings that an error text suggests to change.

A fix is written once, with names in braces: ``"check {host}: {use_starttls}"``. The `Wording` of
the interface in use renders it: ``security="starttls"`` for `mailbackends.Mailer`,
``EMAIL_USE_TLS = True`` in a Django project.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["MAILER", "SMTPLIB", "URL", "Wording"]

_NAME = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, eq=False, kw_only=True)
class Wording:
    """The words of one interface. The phrases are imperatives without a full stop."""

    use_starttls: str = "set security='starttls'"
    use_tls: str = "set security='tls'"
    use_any_tls: str = "set security='starttls' or 'tls'"
    log_in: str = "set username and password"
    log_out: str = "leave out username and password"
    credentials: str = "{password}, {token_provider} or {oauth}"
    """What there has to be beside a user name."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The settings for options, by the options' names."""
    pattern: str = "{}"
    """The setting for any other option: ``{}`` is its name, ``{upper}`` the name in capitals."""

    def name(self, option: str) -> str:
        """The setting for an option of `mailbackends.Options`."""
        found = self.names.get(option)
        return found or self.pattern.replace("{}", option).replace("{upper}", option.upper())

    def render(self, fix: str) -> str:
        """The fix with each ``{name}`` as a phrase of this wording, or as the setting's name."""
        fix = fix.replace("{credentials}", self.credentials)
        return _NAME.sub(lambda match: self._word(match[1]), fix)

    def sentence(self, fix: str) -> str:
        """The rendered fix with a capital and a full stop."""
        text = self.render(fix)
        return f"{text[0].upper()}{text[1:]}."

    def _word(self, name: str) -> str:
        return str(getattr(self, name)) if name in _PHRASES else self.name(name)


_PHRASES = frozenset({"use_starttls", "use_tls", "use_any_tls", "log_in", "log_out"})

MAILER = Wording()
"""The arguments of `mailbackends.Mailer`."""

URL = Wording(
    use_starttls="write smtp+starttls:// in the URL",
    use_tls="write smtps:// in the URL",
    use_any_tls="write smtp+starttls:// or smtps:// in the URL",
    log_in="write user name and password into the URL, as in smtp+starttls://user:password@host",
    log_out="leave user name and password out of the URL",
)
"""A server's URL."""

SMTPLIB = Wording(
    use_starttls="call starttls() first",
    use_tls="use SMTP_SSL",
    use_any_tls="call starttls(), or use SMTP_SSL",
    log_in="call login()",
    log_out="do not call login()",
    names={
        "ssl_cafile": "context=ssl.create_default_context(cafile=...)",
        "ssl_context": "context",
        "ssl_certfile": "context with load_cert_chain()",
    },
)
"""`SMTP`, `SMTP_SSL` and `LMTP`."""
