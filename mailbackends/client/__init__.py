"""`SMTP`, `SMTP_SSL` and `LMTP`: the interface of `smtplib` over the protocol's rules.

Only what a program can call or override belongs here. Everything that SMTP requires is in
`mailbackends.protocol`. The rules that differ from those of `Mailer`, because `smtplib`
documents them, are listed in docs/smtplib.md under "What differs from Mailer": each is a
parameter of the protocol, such as `authentication.SMTPLIB_RULES`.
"""

from mailbackends.client.channel import SMTP_PORT
from mailbackends.client.formatting import CRLF, bCRLF, quoteaddr, quotedata
from mailbackends.client.smtp import SMTP
from mailbackends.client.variants import LMTP, LMTP_PORT, SMTP_SSL, SMTP_SSL_PORT
from mailbackends.protocol.extensions import OLDSTYLE_AUTH

__all__ = [
    "CRLF",
    "LMTP",
    "LMTP_PORT",
    "OLDSTYLE_AUTH",
    "SMTP",
    "SMTP_PORT",
    "SMTP_SSL",
    "SMTP_SSL_PORT",
    "bCRLF",
    "quoteaddr",
    "quotedata",
]
