"""`SMTP`, `SMTP_SSL` and `LMTP`: the interface of `smtplib`, made here."""

from mailbackends.client.connection import SMTP_PORT
from mailbackends.client.features import OLDSTYLE_AUTH
from mailbackends.client.lmtp import LMTP, LMTP_PORT
from mailbackends.client.quoting import CRLF, bCRLF, quoteaddr, quotedata
from mailbackends.client.smtp import SMTP
from mailbackends.client.smtp_ssl import SMTP_SSL, SMTP_SSL_PORT

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
