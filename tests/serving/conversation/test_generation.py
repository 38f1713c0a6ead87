"""Answers worded by a language model: only true sentences, and the template without one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.conversation.generation import Titles, is_true, worded
from tests.components.language.test_writer import Service

PROPOSED = [
    {"title": "RED RETROSPOT MUG", "price": 2.95, "currency": "GBP", "reason": "popular lately"},
    {"title": "POTTERING MUG", "price": 1.25, "currency": "GBP", "reason": "within £3"},
]
CATALOGUE = Titles(
    ["RED RETROSPOT MUG", "POTTERING MUG", "RETROSPOT MUG", "HOT WATER BOTTLE", "MUG"]
)


class Scripted:
    """A language model that returns the given text in pieces."""

    def __init__(self, text: str) -> None:
        self.text = text

    def write(self, messages: Any) -> Iterator[str]:
        assert "RED RETROSPOT MUG" in messages[1]["content"]
        for start in range(0, len(self.text), 7):
            yield self.text[start : start + 7]


@pytest.mark.parametrize(
    ("sentence", "true"),
    [
        ("The Red Retrospot Mug costs £2.95.", True),
        ("Both are within your £3.", True),
        ("It is a cheerful mug.", True),
        ("The Pottering Mug costs £1.99.", False),
        ("We also have a hot water bottle.", False),
        ("It is on sale, 20 % off.", False),
        ("It comes with free delivery.", False),
        ("It costs 2.95 pounds, a bargain for 5 pounds.", False),
    ],
)
def test_a_sentence_must_be_true(sentence: str, true: bool) -> None:
    assert is_true(sentence, PROPOSED, "Here are 2 ideas: mug, up to £3.", CATALOGUE) is true


def test_false_sentences_are_dropped_and_without_any_left_the_template_is_said() -> None:
    text = "Here are 2 ideas: mug, up to £3."
    written = "I like the Red Retrospot Mug for £2.95. It has free delivery! Enjoy it"
    said = list(worded(Scripted(written), "a mug", text, PROPOSED, CATALOGUE))
    assert said == ["I like the Red Retrospot Mug for £2.95. ", "Enjoy it"]
    assert list(worded(Scripted("Only £1.00!"), "a mug", text, PROPOSED, CATALOGUE)) == [text]
    assert list(worded(None, "a mug", text, PROPOSED, CATALOGUE)) == [text]


def test_the_endpoint_says_what_the_writer_writes_and_without_it_the_template(
    serve: Callable[..., Any], shop_root: Path
) -> None:
    with Service() as writer:
        threading.Thread(target=writer.serve_forever, daemon=True).start()
        writer.answer = "I looked around for you. It has free delivery! Have a look at these"
        variables = {
            "BOWERBIRD_SERVE__WRITER": writer.address,
            "BOWERBIRD_SERVE__WRITER_MODEL": "parrot",
        }
        server = serve(shop_root, variables).start()
        with server.client() as client:
            answer = client.post("/conversation", json={"message": "a mug"}).json()
            # What is not true of the products is not said.
            assert answer["text"] == "I looked around for you. Have a look at these"
            said = writer.requests[0]["messages"][-1]["content"]
            assert "a mug" in said
            assert all(item["title"] in said for item in answer["items"])
            writer.shutdown()
            writer.server_close()
            answer = client.post("/conversation", json={"message": "a mug"}).json()
            assert answer["items"]
            assert answer["text"]
            assert "I looked around" not in answer["text"]
