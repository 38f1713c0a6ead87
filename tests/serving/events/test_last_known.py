"""Results of queries while the event store is down."""

from __future__ import annotations

from serving.events.errors import StoreDown
from serving.events.last_known import LastKnown


def test_while_the_store_is_down_the_last_result_and_a_note_are_returned() -> None:
    def down() -> int:
        raise StoreDown("the event store cannot be reached")

    known = LastKnown()
    found, note = known.read("status", down)
    assert found is None
    assert note == "the event store cannot be reached; last read: never"
    assert known.read("status", lambda: 7) == (7, None)
    found, note = known.read("status", down)
    assert found == 7
    assert note is not None
    assert note.startswith("the event store cannot be reached; last read: 20")
    assert known.read("experiments", down)[0] is None
    assert known.read("status", lambda: 8) == (8, None)
