"""Connections that live across uses: at most so many, handed out fairly, closed in time.

`ledger` decides, `base` carries that out; `blocking` and `aio` wait. Nothing here knows SMTP.
"""

from mailbackends.pool.base import Poolable
from mailbackends.pool.blocking import Pool
from mailbackends.pool.ledger import Lease, PoolStats

__all__ = ["Lease", "Pool", "PoolStats", "Poolable"]
