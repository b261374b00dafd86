"""A `Network` in a separate thread, for clients with threads or processes."""

from __future__ import annotations

import os
import select
import threading
from types import TracebackType

from support.turns import Network

__all__ = ["Running"]


class Running:
    """Runs a network within a ``with`` block, at whose end all clients must have closed."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._wake, self._woken = os.pipe()
        self._error: BaseException | None = None

    def __enter__(self) -> Network:
        self._thread.start()
        return self.network

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.write(self._woken, b"x")
        self._thread.join()
        os.close(self._wake)
        os.close(self._woken)
        try:
            if kind is None and self._error is not None:
                raise self._error
            if kind is None:
                self.network.end()
        finally:
            self.network.close()
            for line in self.network.lines:
                line.hang_up()

    def _run(self) -> None:
        try:
            while True:
                while self.network.turn():
                    pass
                poll = select.poll()
                poll.register(self._wake, select.POLLIN)
                for descriptor in self.network.descriptors():
                    poll.register(descriptor, select.POLLIN)
                if any(descriptor == self._wake for descriptor, _ in poll.poll()):
                    return
        except BaseException as error:
            self._error = error
