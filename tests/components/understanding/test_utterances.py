"""Training sentences: complete in every language, and labelled exactly."""

from __future__ import annotations

import re

import pytest

from components.understanding.dictionary import names, things
from components.understanding.utterances import (
    INTENTS,
    LABELS,
    TITLE,
    UtteranceGenerator,
    alternatives,
    language,
    languages,
    lexicon,
)

FIVE = ["de", "en", "es", "fr", "zh"]


def test_there_are_five_languages_and_each_has_every_intent() -> None:
    assert list(languages()) == FIVE
    for code in FIVE:
        raw = language(code)
        assert set(INTENTS) <= raw.keys(), code
        assert all(len(alternatives(raw[intent])) >= 5 for intent in INTENTS), code
        assert {1, 2, 3, -1, 0} <= raw["refs"].keys(), code


@pytest.mark.parametrize("code", FIVE)
def test_every_sentence_can_be_written_and_its_labels_stand_on_its_words(code: str) -> None:
    things = ["mug", "photo frame"]
    writer = UtteranceGenerator(code, things, seed=0)
    forms = {
        kind: {form for name in lexicon()[kind].values() for form in name[code]}
        for kind in ("details", "people", "occasions")
    }
    for intent in INTENTS:
        for frame in alternatives(language(code)[intent]):
            for _ in range(3):
                one = writer.write(intent, frame)
                assert one.text
                assert not re.search(r"[${}|]", one.text.replace("$", "", one.text.count("$"))), (
                    one.text
                )
                last = 0
                for start, stop, label in one.spans:
                    assert label in LABELS
                    assert last <= start < stop <= len(one.text), one
                    assert one.text[start:stop].strip(), one
                    last = stop
                if "{thing}" in frame:
                    assert any(label == "THING" for _, _, label in one.spans)
                if "{title}" in frame:
                    assert TITLE in one.text
    assert all(forms.values())


def test_the_same_seed_writes_the_same_sentences() -> None:
    first, again = (UtteranceGenerator("de", ["Tasse"], seed=3) for _ in range(2))
    assert [first.write("find") for _ in range(20)] == [again.write("find") for _ in range(20)]
    other = UtteranceGenerator("de", ["Tasse"], seed=4)
    assert [other.write("find").text for _ in range(20)] != [
        again.write("find").text for _ in range(20)
    ]


def test_the_dictionary_is_complete_in_five_languages() -> None:
    shops = [concept for concept in things() if set(concept) == set(FIVE)]
    assert len(shops) > 1400
    for concept in shops:
        assert all(form == form.strip() != "" for forms in concept.values() for form in forms)
    for code in FIVE:
        assert len(names(code)) > 1500
    assert "théière" in names("fr")
    assert "ティーポット" in names("ja")  # of the names of emoji
