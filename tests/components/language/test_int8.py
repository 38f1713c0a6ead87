"""8-bit encoders: the vectors are those of full precision, whatever the family and the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

from components.language.encoder import TextEncoder, whitening
from components.language.families import locate
from tests.encoders import PACKAGED, write_small_encoder

needs_vnni = pytest.mark.skipif(
    not torch.cpu.get_capabilities().get("avx512_vnni", False),
    reason="int8 needs a CPU with AVX-512 VNNI",
)


@pytest.fixture(scope="module")
def many_titles() -> list[str]:
    lines = pd.read_parquet("datasets/online-retail/2009-2010.parquet", columns=["Description"])
    return lines["Description"].dropna().drop_duplicates().sample(800, random_state=3).tolist()


@pytest.fixture(scope="module")
def texts(many_titles: list[str]) -> list[str]:
    reviews = pd.read_csv("datasets/clothing-reviews/reviews.csv.gz")["Review Text"].dropna()
    return [*many_titles[:60], *reviews.sample(6, random_state=3), "a"]


@pytest.mark.slow
@needs_vnni
def test_vectors_are_those_of_full_precision(
    texts: list[str], many_titles: list[str], tmp_path: Path
) -> None:
    exact = TextEncoder(PACKAGED, 128, precision="fp32")
    wanted = exact.encode(texts)
    fast = TextEncoder(PACKAGED, 128, precision="int8")
    found = fast.encode(texts)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    assert (found * wanted).sum(axis=1).min() >= 0.99
    assert (found != wanted).any()
    alone = np.vstack([fast.encode([text]) for text in texts[-3:]])
    assert (alone * wanted[-3:]).sum(axis=1).min() >= 0.99
    # A head that whitens makes small differences large; fine-tuned encoders have one.
    exact.head = whitening(fast.encode(many_titles))
    exact.save(tmp_path / "tuned")
    tuned = TextEncoder(tmp_path / "tuned", 128, precision="int8")
    cosine = (tuned.encode(texts) * exact.encode(texts)).sum(axis=1)
    assert cosine.mean() >= 0.98
    assert cosine.min() >= 0.95
    assert (tuned.encode(texts, with_head=False) * wanted).sum(axis=1).min() >= 0.99


@needs_vnni
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_families(family: str, texts: list[str], tmp_path: Path) -> None:
    folder = write_small_encoder(tmp_path / family, family)
    wanted = TextEncoder(folder, precision="fp32").encode(texts)
    found = TextEncoder(folder, precision="int8").encode(texts)
    assert (found * wanted).sum(axis=1).min() >= 0.99


def test_other_families_are_refused_by_name(tmp_path: Path) -> None:
    config = transformers.GPT2Config(vocab_size=30522, n_embd=32, n_layer=1, n_head=2)
    transformers.GPT2Model(config).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(locate(PACKAGED)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"encode\.precision: int8 .*gpt2"):
        TextEncoder(tmp_path, precision="int8")
