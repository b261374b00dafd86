"""Connections that live across uses: at most so many, handed out fairly, closed in time."""

from mailbackends.pool.blocking import Lease, Pool
from mailbackends.pool.connection import Poolable
from mailbackends.pool.ledger import PoolStats

__all__ = ["Lease", "Pool", "PoolStats", "Poolable"]
