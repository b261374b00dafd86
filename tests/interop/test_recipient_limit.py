"""Postfix with a limit of five recipients, and a message for twelve."""

from __future__ import annotations

import pytest

pytest.importorskip("django", reason="these go through Django and Flask, too")
pytest.importorskip("flask", reason="these go through Django and Flask, too")

from interop.letters import Letter
from interop.place import CLIENTS, Place
from interop.world import World


@pytest.mark.parametrize("client", CLIENTS)
def test_those_over_the_servers_limit_get_the_message_in_parts_or_the_caller_is_told(
    client: str, world: World, cafile: str
) -> None:
    place = Place(world.server("Postfix"), CLIENTS[client], cafile)
    letter = Letter(people=tuple(f"p{number}" for number in range(12)))
    with place.client("five recipients") as one:
        sent = one.send(letter)
        assert sent.error is None
        # The interface of smtplib leaves it to the caller; a Mailer sends again to the rest.
        left = letter.recipients[5:] if client == "SMTP" else ()
        assert sent.refused == dict.fromkeys(left, 452)
        place.see_arrived(one, letter, refused=left)
