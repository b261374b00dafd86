"""Messages, and a server that breaks where the test says: the views of both sides afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

from faults import totals
from faults.accounts import check, letter
from faults.faces import FACES
from faults.ways import Way

from mailbackends import Outcome
from support.line import Break, Cut, Line
from support.machine import Habits
from support.turns import At, Network

__all__ = ["EACH", "FIRST", "PRIMARY", "Where", "World"]

# Which connections break, by their number and that of their server.
Where: TypeAlias = Callable[[int, int], bool]


def FIRST(index: int, server: int) -> bool:
    """Only the first one."""
    return index == 0


def EACH(index: int, server: int) -> bool:
    """Each that is made."""
    return True


def PRIMARY(index: int, server: int) -> bool:
    """Each to the first of two servers."""
    return server == 0


class World:
    """One way of sending messages, one call to send them, and a network.

    The first message finds no connection, the others a used one; each has ``size`` bytes at
    least. ``outcomes`` are those of a run in which nothing breaks. Unless BDAT ``is_proved``,
    the content of the first one comes in two chunks.
    """

    def __init__(
        self,
        way: Way,
        call: str,
        count: int,
        network: Network,
        *,
        size: int = 0,
        is_proved: bool = True,
        is_one_connection: bool = True,
        face: str = "blocking",
    ) -> None:
        self.way = way
        self._is_proved = is_proved
        self._network = network
        self._call = call
        self._send = FACES[face]
        self._options = [way.options(port) for port in network.ports]
        self.letters = [letter(number, size) for number in range(count)]
        self.outcomes = self._run()
        if is_one_connection:
            assert len(network.lines) <= len(network.ports), "a second connection was needed"
        self._line: Line = network.lines[0]

    def totals(self) -> dict[str, int]:
        """The bytes of the dialogue in each direction, within TLS and (``raw``) outside."""
        return self._line.totals

    @property
    def replies(self) -> int:
        """The replies of the whole dialogue."""
        return self._line.machine.replies

    def cuts(
        self, kinds: Callable[[int], tuple[Break, ...]], *, raw: bool = False, step: int = 1
    ) -> Iterator[Cut]:
        """Every place at which the dialogue can break, and how: by the number of the place.

        The places lie between the bytes of the dialogue, or (``raw``) those of TLS around
        it. With ``step`` it is not every one.
        """
        for direction in ("received", "sent"):
            for offset in range(0, self._line.totals["raw " * raw + direction] + 1, step):
                for kind in kinds(offset):
                    yield Cut(direction, offset, kind, raw)

    def run(self, cut: Cut, where: Where = FIRST) -> list[Outcome]:
        """Send all letters while connections break; the outcomes, which agree with the server."""
        totals.cuts[cut.kind] += 1
        try:
            return self._run(lambda index, server: cut if where(index, server) else None)
        except Exception as error:
            error.add_note(f"{self.way}: {cut}")
            raise

    def run_with_last_words(
        self, reply: int, where: Where = FIRST, *, goes_on: bool = False
    ) -> list[Outcome]:
        """Send all letters while a connection's ``reply``-th reply is a 421.

        The server closes the connection after it, or ``goes_on``.
        """
        totals.cuts["421"] += 1
        down = replace(self.way.habits, last_reply=reply, goes_on=goes_on)
        try:
            return self._run(None, lambda index, server: down if where(index, server) else None)
        except Exception as error:
            error.add_note(f"{self.way}: 421 in place of reply {reply}")
            raise

    def run_stumbling(self, how: str) -> list[Outcome]:
        """Send all letters to a server that fails on what follows a content in the same write."""
        totals.cuts[f"stumbling: {how}"] += 1
        stumbling = replace(self.way.habits, stumbles=how, takes_groups=True)
        return self._run(None, lambda index, server: stumbling)

    def run_with_extra(self, reply: int, extra: str, where: Where = FIRST) -> list[Outcome]:
        """Send all letters while a server gives one reply too many, in front of the ``reply``-th.

        The extra reply ``"again"`` is the same reply, after it.
        """
        totals.cuts["one reply more"] += 1
        more = replace(self.way.habits, extra=(reply, extra))
        try:
            return self._run(
                None, lambda index, server: more if where(index, server) else None, is_misled=True
            )
        except Exception as error:
            error.add_note(f"{self.way}: {extra!r} in front of reply {reply}")
            raise

    def run_in_pieces(self, cut: Cut | None = None, where: Where = FIRST) -> list[Outcome]:
        """Send all letters while each byte comes and goes by itself, and connections break."""
        totals.cuts["byte by byte"] += 1
        pieces = replace(self.way.habits, in_pieces=True)
        return self._run(
            lambda index, server: cut if where(index, server) else None, lambda *_: pieces
        )

    def _run(
        self,
        cuts: At[Cut] | None = None,
        habits: At[Habits] | None = None,
        *,
        is_misled: bool = False,
    ) -> list[Outcome]:
        delivered = self._network.begin(cuts, habits)
        results, stats = self._send(self._network, self._options, self._call, self.letters)
        pool = stats.pool
        assert (pool.in_use, pool.opening, pool.waiters) == (0, 0, 0)
        self._network.end()
        assert is_misled or not delivered.violations, delivered.violations
        outcomes = check(results, delivered.count)
        totals.messages.update(outcomes)
        return outcomes

    def may_be_unknown(self, number: int, cut: Cut) -> bool:
        """True if the end of this letter's content may have been sent, and its reply not read.

        That is from the byte that asks for the content to the last one of its reply.
        """
        one = self.letters[number]
        is_probed = self.way.is_chunked and not self._is_proved
        if cut.direction == "received":
            heads = [b"MAIL FROM", b"BDAT "] if self.way.is_chunked else [b"DATA\r\n"]
            is_probe = is_probed and number == 0
            head = heads[0] if self.way.is_one_flight and not is_probe else heads[-1]
            starts = _places(self._line.received, head)
            if is_probed and head == b"BDAT ":
                del starts[0]  # that of the first chunk, which is only a line
            wire = one.content if self.way.is_chunked else _stuffed(one.content)
            if is_probe:
                wire = wire.partition(b"\r\n")[2]
            end = self._line.received.index(wire) + len(wire)
            start = starts[number] + (0 if self.way.is_chunked else len(head))
            return start < cut.offset <= end
        ends = self._reply_ends()
        probe = int(is_probed and number == 0)
        each = self.way.replies(one.recipients) + probe
        first = len(ends) - 1 - probe  # QUIT comes last
        first -= (each - probe) * (len(self.letters) - number)
        before = 0 if self.way.is_one_flight and not probe else len(one.recipients) + 1 + probe
        if not self.way.is_chunked:
            before += 1
        return ends[first + before - 1] <= cut.offset < ends[first + each - 1]

    def _reply_ends(self) -> list[int]:
        ends, place = [], 0
        for line in bytes(self._line.sent).splitlines(keepends=True):
            place += len(line)
            if line[3:4] != b"-":
                ends.append(place)
        return ends


def _stuffed(content: bytes) -> bytes:
    return content.replace(b"\r\n.", b"\r\n..") + b".\r\n"


def _places(data: bytes, part: bytes) -> list[int]:
    places, place = [], data.find(part)
    while place >= 0:
        places.append(place)
        place = data.find(part, place + 1)
    return places
