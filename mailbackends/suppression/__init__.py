"""Addresses that get no mail: who they are, why, and how they come onto the list.

- ``entries``: how addresses are compared, and which entry stops a message. Pure.
- ``sources``: the entries that reports, refusals and a provider's events mean, by a
  `SuppressionPolicy`. Pure.
- ``store``: `SuppressionList`, all that a Mailer needs, and `SuppressionStore`, a list in a
  database.
- ``csv_files``: import and export.
- ``sqlalchemy_store``: `SQLAlchemySuppressionStore` (extra ``outbox``). Django has its own.
- ``commands``: the commands ``import``, ``export``, ``add``, ``remove`` and ``check``.
"""

from mailbackends.suppressed import EVERYTHING, Reason, Suppression
from mailbackends.suppression.csv_files import BadRow, import_csv, open_csv, read_csv, write_csv
from mailbackends.suppression.entries import Exempt, comparable, new_entry
from mailbackends.suppression.sources import (
    SuppressionPolicy,
    from_event,
    from_replies,
    from_report,
    recipient_reference,
)
from mailbackends.suppression.store import (
    SuppressionList,
    SuppressionLookup,
    SuppressionStore,
)

__all__ = [
    "EVERYTHING",
    "BadRow",
    "Exempt",
    "Reason",
    "Suppression",
    "SuppressionList",
    "SuppressionLookup",
    "SuppressionPolicy",
    "SuppressionStore",
    "comparable",
    "from_event",
    "from_replies",
    "from_report",
    "import_csv",
    "new_entry",
    "open_csv",
    "read_csv",
    "recipient_reference",
    "write_csv",
]
