import gc
import threading

import pytest

from mailbackends import Mailer, Outcome
from mailbackends.pool.ledger import Ledger
from support.scripted import ScriptedServer
from support.sink import EXTENSIONS, Sink

from .test_train_servers import Server, outcome


@pytest.mark.parametrize("in_flight", [1, 4])
def test_421_to_the_first_recipient_and_goes_on(message, in_flight):
    server = Server(answers={("RCPT", 3): "421 4.3.0 what"})
    with ScriptedServer(server) as listener, Mailer(
        f"smtp://127.0.0.1:{listener.port}",
        messages_in_flight=in_flight,
        content_timeout=1,
        timeout=1,
    ) as m:
        list(m.send_messages(message("a@x.org", "b@x.org", subject=str(n)) for n in range(3)))
    assert max(server.delivered.values()) == 1, server.delivered


@pytest.mark.parametrize("in_flight", [1])
def test_limit_control(message, in_flight):
    limited = (*EXTENSIONS, "LIMITS MAILMAX=4")
    with Sink(extensions=limited) as sink, Mailer(sink.url, messages_in_flight=in_flight) as m:
        sink.refuse("b@example.com", "452 4.5.3 too many", times=1)
        given = [message(), message("a@example.com", "b@example.com"), *(message() for _ in "123")]
        assert [outcome(r) for r in m.send_messages(given)] == [Outcome.ACCEPTED] * 5
    counts = [sink.received(c).count(b"MAIL FROM") for c in range(sink.connections)]
    assert max(counts) <= 4, counts


def test_hold_after_close(message):
    with Sink() as sink, Mailer(sink.url) as m, m.hold() as held:
        held.send_message(message())
        m.close()
        try:
            print("held after close:", held.send_message(message()))
        except Exception as e:
            print("held after close:", repr(e))


def test_gc_under_the_lock(message, monkeypatch):
    request = Ledger.request
    with Sink() as sink:
        m = Mailer(sink.url, messages_in_flight=4, pool_size=3)
        cycle = {}
        results = m.send_messages(message() for _ in range(6))
        next(results), next(results)
        cycle["me"], cycle["results"] = cycle, results

        def collected(self, claim):
            gc.collect()  # as any allocation may
            request(self, claim)

        del results, cycle
        monkeypatch.setattr(Ledger, "request", collected)
        thread = threading.Thread(target=m.send_message, args=(message(),), daemon=True)
        thread.start()
        thread.join(3)
        assert not thread.is_alive()
