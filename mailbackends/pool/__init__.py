"""A pool of connections: limited in number, handed out in FIFO order, closed when they expire.
`ledger` makes the decisions, `base` carries them out, `blocking` and `aio` wait.
Nothing here knows SMTP.
"""

from mailbackends.pool.blocking import Pool
from mailbackends.pool.ledger import Lease, PoolStats
from mailbackends.pool.poolable import Poolable

__all__ = ["Lease", "Pool", "PoolStats", "Poolable"]
