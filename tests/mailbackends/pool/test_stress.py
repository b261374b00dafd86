"""Many threads, few places, and random faults everywhere."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

from mailbackends.errors import PoolTimeout
from support.pooled import FakeConnection, pool_of

THREADS = 50
PLACES = 4
MESSAGES = 5000


class Server:
    """Counts open connections, and the users of each."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.standing = 0
        self.most = 0
        self.opened = 0
        self.is_well = False

    def connect(self, deadline: float | None) -> Connection:
        with self.lock:
            self.standing += 1
            self.most = max(self.most, self.standing)
        time.sleep(0)
        refused = not self.is_well and random.random() < 0.05
        with self.lock:
            self.standing -= refused
            self.opened += not refused
        if refused:
            raise ConnectionRefusedError
        return Connection(self)


class Connection(FakeConnection):
    """Checks that one thread uses it at a time, and none after its end."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        self.user = threading.Lock()

    def is_alive(self) -> bool:
        return random.random() > 0.05

    def send(self) -> None:
        assert self.user.acquire(blocking=False), "two threads use one connection"
        assert not self.ended, "used after its end"
        time.sleep(random.choice([0, 0, 0, 0.0002]))
        self.user.release()

    def close(self) -> None:
        if random.random() < 0.1:
            raise OSError("broken pipe")
        super().close()

    def _end(self, how: str) -> None:
        assert not self.user.locked(), "ended while it was used"
        if not self.ended:
            with self.server.lock:
                self.server.standing -= 1
        super()._end(how)


def test_every_message_is_accounted_for_and_no_place_is_lost():
    server = Server()
    pool = pool_of(
        server.connect,
        size=PLACES,
        timeout=0.05,
        max_messages_per_connection=20,
        max_lifetime=0.2,
        max_idle=0.001,
        on_event=lambda event: random.random() < 0.01 and 1 / 0,
    )
    numbers = iter(range(MESSAGES))
    outcomes: Counter[str] = Counter()
    surprises: list[BaseException] = []
    lock = threading.Lock()

    def send_one() -> str:
        deadline = time.monotonic() + random.choice([0.0, 0.001, 10.0])
        try:
            lease = pool.acquire(deadline=deadline, fresh=random.random() < 0.05)
        except PoolTimeout:
            return "timeout"
        except ConnectionRefusedError:
            return "no connection"
        lease.connection.send()
        broken = random.random() < 0.1
        pool.release(lease, reusable=not broken)
        return "broken" if broken else "sent"

    def work() -> None:
        try:
            while True:
                with lock:
                    if next(numbers, None) is None:
                        return
                outcome = send_one()
                with lock:
                    outcomes[outcome] += 1
        except BaseException as error:
            surprises.append(error)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert surprises == []
    assert outcomes.total() == MESSAGES
    assert set(outcomes) == {"sent", "broken", "timeout", "no connection"}
    assert server.most == PLACES

    stats = pool.stats()
    assert (stats.in_use, stats.opening, stats.waiters) == (0, 0, 0)
    assert stats.made == server.opened
    assert stats.made == stats.idle + sum(stats.retired.values())
    assert stats.made + stats.reused == outcomes["sent"] + outcomes["broken"]

    server.is_well = True
    leases = [pool.acquire() for _ in range(PLACES)]
    for lease in leases:
        pool.release(lease, reusable=True)
    pool.close()
    assert server.standing == 0
