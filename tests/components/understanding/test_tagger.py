"""The tagger learns to label, and is the same after it was saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.language.families import locate
from components.language.packaged import ENGLISH, packaged_folder
from components.settings import load_settings
from components.understanding.model import UnderstandingModel
from components.understanding.reading import reading_of
from components.understanding.tagger import CLASSES, FrozenEncoder, classes_of
from components.understanding.training import accuracy, run, shopper_languages, train, write
from components.understanding.utterances import INTENTS
from serving.conversation.dialogue import Conversation
from serving.conversation.grounding import open_understanding
from serving.profiles.history import History
from serving.recommend.engine import Engine
from serving.search import Search
from tests.conftest import REPOSITORY

TITLES = pd.Series(
    [f"{colour} {thing}" for colour in ("RED", "BLUE", "WHITE", "PINK")
     for thing in ("MUG", "PHOTO FRAME", "CAKE STAND", "CANDLE HOLDER")]
)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> UnderstandingModel:
    return train(FrozenEncoder(locate(ENGLISH)), TITLES, ["en"], sentences=800, epochs=8, seed=0)


def test_it_learns_intents_and_parts(model: UnderstandingModel) -> None:
    new = write(TITLES, ["en"], ["en"], 150, seed=99)
    found = accuracy(model.tagger, new)
    most_common = max(sum(one.intent == intent for one in new) for intent in INTENTS) / len(new)
    assert most_common < 0.5
    assert found["intent_accuracy"] > most_common + 0.2
    assert found["parts_accuracy"] > 0.35
    german = write(TITLES, ["en"], ["de"], 100, seed=99)  # which the tagger never read
    by_language = accuracy(model.tagger, [*german, *new])["languages"]
    assert by_language["en"] == {name: one for name, one in found.items() if name != "languages"}
    assert by_language["de"]["sentences"] == len(german)
    assert by_language["de"]["parts_accuracy"] < found["parts_accuracy"] - 0.1


def test_it_reads_what_it_was_not_trained_on(model: UnderstandingModel) -> None:
    text = "do you have a blue photo frame for less than £8"
    found = reading_of(model.tagger.tag([text])[0], text)
    assert found.intent == "find"
    assert any("frame" in thing for thing in found.things)
    assert found.max_price == 8


def test_it_is_the_same_after_it_was_saved(model: UnderstandingModel, tmp_path: Path) -> None:
    model.save(tmp_path / "understanding")
    again = UnderstandingModel.load(tmp_path / "understanding")
    assert again.languages == model.languages == ["en"]
    assert again.phrases == model.phrases
    texts = ["a red mug", "anything cheaper?", "not the second one"]
    before, after = model.tagger.tag(texts), again.tagger.tag(texts)
    for one, other in zip(before, after, strict=True):
        assert one.intent == other.intent
        assert [span.text for span in one.spans] == [span.text for span in other.spans]
    names = {file.name for file in (tmp_path / "understanding").rglob("*") if file.is_file()}
    assert not any(name.endswith((".pkl", ".bin", ".pt")) for name in names)


def test_no_text_is_too_odd(model: UnderstandingModel) -> None:
    odd = [" ", "?", "a" * 5000, "\u200b", "İİİ", "👍🏽", "מתנה", "\x00", "PRODUCT PRODUCT"]
    for text, found in zip(odd, model.tagger.tag(odd), strict=True):
        reading_of(found, text)
        assert all(text[span.start : span.stop] == span.text for span in found.spans)


def test_classes_of_tokens() -> None:
    offsets = np.array([[0, 0], [0, 3], [4, 7], [7, 9], [0, 0]])  # "red mugs" with special tokens
    classes = classes_of(offsets, [(0, 3, "DETAIL"), (4, 9, "THING")])
    assert [CLASSES[one] for one in classes] == ["O", "B-DETAIL", "B-THING", "I-THING", "O"]


def test_an_english_encoder_is_trained_in_english_only() -> None:
    assert shopper_languages(ENGLISH) == ["en"]
    assert len(shopper_languages("multilingual-e5-small")) == 5
    assert len(shopper_languages("some/hub-model")) == 5


@pytest.mark.slow
def test_the_needs_that_it_may_be_built_on_are_understood_in_five_languages(
    tmp_path: Path,
) -> None:
    """Languages, intents and limits, on people's sentences; a stub would fail each."""
    from benchmarks.needs.data import Needs

    reader = FrozenEncoder(packaged_folder("multilingual-e5-small", tmp_path))
    codes = ["de", "en", "es", "fr", "zh"]
    tagger = train(reader, TITLES, codes, sentences=2500, epochs=8, seed=0).tagger
    needs = [need for need in Needs.load().needs if need.half == "build"]
    texts = [need.turns[-1] for need in needs]
    read = [reading_of(one, text) for one, text in zip(tagger.tag_all(texts), texts, strict=True)]
    spoken = [one.language == need.language for one, need in zip(read, needs, strict=True)]
    assert np.mean(spoken) > 0.9
    fields: dict[str, tuple[str, ...]] = {
        "find": ("find", "refine"),
        "small_talk": ("hello", "thanks"),
        "refine": ("refine", "find", "more", "cheaper", "dearer"),
    }
    right = [
        one.intent in fields.get(need.intent, (need.intent,))
        for one, need in zip(read, needs, strict=True)
    ]
    assert np.mean(right) > 0.85
    prices = [need.price.max for need in needs]
    limited = [
        one.max_price == limit
        for one, limit in zip(read, prices, strict=True)
        if np.isfinite(limit)
    ]
    assert len(limited) > 15
    assert np.mean(limited) > 0.85


@pytest.mark.parametrize(("by", "encoder"), [("grammar", ENGLISH), ("tagger", "scratch:bert")])
def test_the_stage_leaves_an_empty_folder_where_the_grammar_understands(
    tmp_path: Path, by: str, encoder: str
) -> None:
    settings = load_settings(REPOSITORY / "params.yaml")
    chosen = settings.understanding.model_copy(update={"by": by, "encoder": encoder})
    run(settings.model_copy(update={"understanding": chosen}), tmp_path)
    assert list((tmp_path / "models/understanding").iterdir()) == []
    assert json.loads((tmp_path / "reports/understanding.json").read_text()) == {"by": "grammar"}
    assert open_understanding(tmp_path / "models") is None


def test_an_encoder_that_does_not_exist_is_named_and_the_last_tagger_stays(tmp_path: Path) -> None:
    (tmp_path / "data/prepared").mkdir(parents=True)
    pd.DataFrame({"title": TITLES}).to_parquet(tmp_path / "data/prepared/items.parquet")
    last = tmp_path / "models/understanding/tagger.json"
    last.parent.mkdir(parents=True)
    last.write_text("{}")
    settings = load_settings(REPOSITORY / "params.yaml")
    chosen = settings.understanding.model_copy(update={"encoder": str(tmp_path / "nowhere")})
    with pytest.raises(ValueError, match=r"understanding\.encoder: cannot open .*nowhere"):
        run(settings.model_copy(update={"understanding": chosen}), tmp_path)
    assert last.exists()


def test_a_conversation_is_understood_by_the_trained_tagger(
    model: UnderstandingModel, trained: Any
) -> None:
    engine = Engine.load(trained[0] / "models/hybrid", "test")
    search = Search(engine.model.catalogue.table)
    talk = Conversation(engine, search, model, contact="Write to help@shop.example.")
    nobody = History(np.empty(0, np.int32), np.empty(0, np.int64))
    mugs = talk.reply("i am looking for a mug under £3", None, nobody, 5)
    assert mugs.items
    for code in mugs.items:
        assert "MUG" in engine.titles[code]
        assert engine.prices[code] <= 3
    more = talk.reply("show me more", mugs.state, nobody, 5)
    assert more.items
    assert not set(more.items) & set(mugs.items)
    about = talk.reply("tell me more about the second one", mugs.state, nobody, 5)
    assert about.items == [mugs.items[1]]
    asked = talk.reply("how long does delivery take?", mugs.state, nobody, 5)
    assert asked.items == []
    assert "help@shop.example" in asked.text
