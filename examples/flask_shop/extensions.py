"""The extensions, which all applications of this process share."""

from flask_integration import Mail

__all__ = ["bulk", "mail"]

mail = Mail()
bulk = mail.using("bulk")
