"""Connections that live across uses: at most so many, handed out fairly, closed in time.

`ledger` decides, `base` carries that out; `blocking` and `aio` wait. Nothing here knows SMTP.
"""

from mailbackends.pool.blocking import Pool
from mailbackends.pool.ledger import Lease, PoolStats
from mailbackends.pool.poolable import Poolable

__all__ = ["Lease", "Pool", "PoolStats", "Poolable"]
