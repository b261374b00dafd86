"""Messages in flight at real servers: what stands behind a chunk is theirs to take or to drop."""

from __future__ import annotations

import pytest

pytest.importorskip("django", reason="these go through Django and Flask, too")
pytest.importorskip("flask", reason="these go through Django and Flask, too")

from interop.clients import MailerClient
from interop.letters import Letter
from interop.place import Place
from interop.world import World
from mailbackends import Mailer, Outcome, Receipt, SMTPException, Submission


def _outcomes(mailer: Mailer, letters: list[Letter]) -> list[Outcome | None]:
    given = (Submission(one.raw, one.sender, one.recipients) for one in letters)
    results = list(mailer.stream_messages(given))
    assert all(isinstance(result, Receipt | SMTPException) for result in results)
    return [getattr(result, "outcome", None) for result in results]


@pytest.mark.parametrize("security", ["none", "starttls"])
def test_postfix_takes_them_and_a_refusal_amid_them_leaves_the_others_alone(
    security: str, world: World, cafile: str
) -> None:
    place = Place(world.server("Postfix"), MailerClient, cafile)
    place.server.forget()
    letters = [Letter(people=("refused" if n % 25 == 20 else "a",)) for n in range(80)]
    wanted = [
        Outcome.REFUSED if one.people == ("refused",) else Outcome.ACCEPTED for one in letters
    ]
    with (
        place.client(security=security) as client,
        Mailer(**client.access.options(), batch_pipeline=8) as mailer,
    ):
        assert _outcomes(mailer, letters) == wanted
        assert mailer.stats().pool.made == 1
        there = [one for one, what in zip(letters, wanted, strict=True) if what == "accepted"]
        place.see_all_arrived(client, there)


def test_at_dovecots_submission_service_each_is_accounted_for_and_none_sent_twice(
    world: World, cafile: str
) -> None:
    place = Place(world.server("Dovecot submission"), MailerClient, cafile)
    letters = [Letter() for _ in range(12)]
    with place.client(mechanism="PLAIN", security="starttls") as client:
        with Mailer(**client.access.options(), batch_pipeline=4) as mailer:
            outcomes = _outcomes(mailer, letters)
            # Whatever it thinks of them, it is remembered.
            later = [Letter() for _ in range(4)]
            assert _outcomes(mailer, later) == [Outcome.ACCEPTED] * 4
        place.deliver(client, Letter())  # What went before has been relayed by now.
        for letter, outcome in zip(letters, outcomes, strict=True):
            if outcome is Outcome.ACCEPTED:
                place.see_arrived(client, letter)
            else:
                copies = len(place.server.found(letter.token))
                assert copies <= (1 if outcome is Outcome.UNKNOWN else 0)
        for letter in later:
            place.see_arrived(client, letter)
