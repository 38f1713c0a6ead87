"""The model card: figures of the evaluation, and text that cannot become HTML."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from components.data.dataset import load_prepared
from components.registry.model_card import model_card
from components.settings import Settings


def test_the_card_has_every_model_best_first(prepared_folder: Path, settings: Settings) -> None:
    prepared = load_prepared(prepared_folder)
    table = pd.DataFrame(
        {
            "model": ["popularity", "hybrid", "<b>x</b>"],
            "ndcg@10": [0.05, 0.14156, 0.01],
            "low": [0.04, 0.132, 0.0],
            "high": [0.06, 0.152, 0.02],
            "recall@10": [0.04, 0.083, 0.01],
            "coverage@10": [0.01, 0.19, 0.5],
        }
    )
    facts = {"data_version": "abc", "digest": "def", "commit": "0123+", "ratio": 2.831}
    card = model_card(settings, prepared, table, facts)
    assert card.startswith("# bowerbird: model card")
    rows = [line.split("|")[1:3] for line in card.splitlines() if line.startswith("| ")]
    assert [[cell.strip() for cell in row] for row in rows[1:]] == [
        ["hybrid", "0.1416"],
        ["popularity", "0.0500"],
        ["&lt;b&gt;x&lt;/b&gt;", "0.0100"],
    ]
    assert "2.83 times the NDCG@10" in card
    assert f"{len(prepared.catalogue):,} products" in card
    assert "Data version `abc`, code `0123+`" in card
