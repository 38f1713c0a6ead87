"""The stage ``evaluate``: its report, under both protocols."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from selenium import webdriver

from components.data.dataset import load_prepared
from components.evaluation import report
from components.evaluation.metrics import ACCURACY
from components.evaluation.protocol import interval, pairwise
from components.recommenders.factory import MODELS, register, unregister
from components.recommenders.models.off_policy.model import Policy
from components.settings import Event, Settings


def serve(root: Path) -> None:
    """Write 400 lists of two products, drawn from four, served in the test window."""
    prepared = load_prepared(root / "data/prepared")
    random = np.random.default_rng(0)
    drawn = [random.permutation(prepared.catalogue.ids[:4])[:2].tolist() for _ in range(400)]
    names = [f"imp{number}" for number in range(400)]
    impressions = pd.DataFrame(
        {
            "impression_id": names,
            "user_id": prepared.users["user_id"].iloc[np.arange(400) % 50].to_numpy(),
            "item_ids": drawn,
            "propensities": [[0.25, 0.25]] * 400,
            "timestamp": pd.to_datetime(prepared.test_start + np.arange(400), unit="s", utc=True),
        }
    )
    clicks = {"impression_id": names[:100], "item_id": [one[0] for one in drawn[:100]]}
    clicked = pd.DataFrame(clicks).assign(event="click", authentication="session")
    for file, frame in (
        ("impressions/one.parquet", impressions),
        ("valid/interactions.parquet", clicked),
    ):
        (root / "data" / file).parent.mkdir()
        frame.to_parquet(root / "data" / file)


@pytest.fixture(scope="module", params=["time", "leave_one_out"])
def reported(
    request: pytest.FixtureRequest,
    trained: tuple[Path, Settings],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Settings]:
    """A root after the stage evaluate, under both protocols, and its settings."""
    source, settings = trained
    root = tmp_path_factory.mktemp("reported")
    (root / "data").mkdir()
    for name in ("data/prepared", "models"):
        (root / name).symlink_to(source / name)
    serve(root)
    changes = {"protocol": request.param, "bootstrap_samples": 200, "max_users": 150}
    settings = settings.model_copy(
        update={"evaluate": settings.evaluate.model_copy(update=changes)}
    )
    report.run(settings, root)
    return root, settings


def test_the_report_judges_every_model(reported: tuple[Path, Settings]) -> None:
    root, settings = reported
    protocol = settings.evaluate.protocol
    table = pd.read_csv(root / "reports/evaluation.csv").set_index("model")
    # switching and cascade need models that the fixture does not train
    names = [*settings.train.candidates, "weighted", "hybrid"]
    assert table.index.tolist() == names
    assert table["ndcg@10"].between(table["low"], table["high"]).all()
    assert (table["new_users"] + table["known_users"] <= 150).all()
    beyond = ("coverage", "gini", "novelty", "diversity", "serendipity", "popularity_lift")
    for metric in (*ACCURACY, *beyond, "miscalibration"):
        assert table[f"{metric}@10"].notna().all(), metric
    assert table.loc["item_neighbours", "coverage@10"] > table.loc["popularity", "coverage@10"]
    if protocol == "leave_one_out":  # one target each
        assert table["precision@10"].to_numpy() == pytest.approx(table["recall@10"] / 10)
        assert (table["new_users"] == 0).all()
    assert json.loads((root / "reports/evaluation.json").read_text())["hybrid_to_best_single"]

    pairs = pd.read_csv(root / "reports/evaluation/significance.csv")
    assert len(pairs) == len(names) * (len(names) - 1) / 2
    assert (pairs["difference"] >= 0).all()
    page = (root / "reports/evaluation/report.html").read_text()
    assert ("leave-one-out" in page) == (protocol == "leave_one_out")
    assert ("new users</h3>" in page) == (protocol == "time")
    if protocol == "time":  # what was served is known, what others would have earned is not
        assert "0.250 [" in page
        assert "not reliable" in page
    else:
        assert "No served lists" in page
    if protocol == "time":
        assert table["revenue@10"].between(table["revenue_low"], table["revenue_high"]).all()
        assert 0 < table.loc["hybrid", "revenue@10"] < spent_by_a_user(page)
    else:  # a target has no window in which it was bought
        assert "revenue@10" not in table
    assert page.count("<figure>") == 5 + (protocol == "time")
    assert not re.search(r'(?:src|href)="(?!data:)|url\(', page)  # nothing is fetched
    assert len(page.encode()) < 100_000


def spent_by_a_user(page: str) -> float:
    """Return what a user spent on all targets, as the report says."""
    found = re.search(r"in all a user spent ([\d,.]+) on", page)
    assert found is not None
    return float(found[1].replace(",", ""))


class Learner(Policy):
    """A second recommender that learns from served lists."""

    name = "learner"

    def event_rewards(self) -> dict[Event, float]:
        return {"view": 0.5}


def test_served_lists_are_worth_what_the_recommender_that_learns_from_them_says(
    settings: Settings, tmp_path: Path
) -> None:
    register(Learner)
    try:
        given = {**settings.train.model_dump(), "candidates": ["cease"], "fine_tuned": ["learner"]}
        train = type(settings.train).model_validate(given)
        with_learner = settings.model_copy(update={"train": train})
        assert report.event_rewards(settings, tmp_path) == settings.train.policy.rewards
        assert report.event_rewards(with_learner, tmp_path) == {"view": 0.5}
    finally:
        unregister(Learner.name)


def judged(each: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return a table as evaluation.csv's of models with these NDCG@10 of the users (users,)."""
    random = np.random.default_rng(0)
    slices = ("known_users", "new_users", "little_active_users", "very_active_users", "head")
    rows = []
    for name, values in each.items():
        low, high = interval(values, 200, seed=0)
        shares = random.uniform(0.2, 1.4, len(slices))
        parts = [f"ndcg@10_{one}" for one in slices]
        rows.append(
            {"model": name, "ndcg@10": values.mean(), "low": low, "high": high}
            | {"coverage@10": random.beta(2, 8), "known_users": 1588, "new_users": 212}
            | dict(zip(parts, shares * values.mean(), strict=True))
            | {"ndcg@10_tail": 0.0, "ndcg@10_new_items": np.nan}
        )
    return pd.DataFrame(rows)


def test_the_best_single_model_is_compared_with_the_hybrid() -> None:
    random = np.random.default_rng(4)
    base = random.random(800)
    each = {"a": 0.5 * base, "b": 0.6 * base, "weighted": 0.9 * base, "hybrid": 0.66 * base}
    found = report.versus_single(each, pairwise(each), ["a", "b"], samples=500, seed=0)
    assert found["single"] == "b"  # weighted is no single model
    assert found["ratio"] == pytest.approx(1.1)
    assert found["difference"] == pytest.approx(0.06 * base.mean())
    assert found["p"] < 0.001
    half = 1.96 * 0.06 * base.std() / np.sqrt(800)
    assert found["low"] == pytest.approx(found["difference"] - half, abs=half / 5)
    assert found["high"] == pytest.approx(found["difference"] + half, abs=half / 5)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report of sixteen models, many of them nearly as good as each other."""
    models = [*sorted(MODELS), "weighted", "switching", "cascade", "hybrid"]
    random = np.random.default_rng(1)
    taste = random.beta(0.8, 1.5, 1800)
    shares = np.concatenate([np.linspace(0.02, 0.2, 4), np.full(len(models) - 5, 0.21), [0.4]])
    hits = random.random((len(models), 1800)) < shares[:, None]
    each = {name: np.where(hit, taste, 0) for name, hit in zip(models, hits, strict=True)}
    table, pairs = judged(each), pairwise(each)
    folder = tmp_path_factory.mktemp("crowded")
    pd.DataFrame(pairs).to_csv(folder / "significance.csv", index=False)
    facts = {
        "users": "1,800",
        "items": "4,081",
        "question": "who bought something",
        "served": [],
        "versus": report.versus_single(each, pairs, models[:-4], samples=200, seed=0),
    }
    report.write_report(table, pairs, facts, folder / "report.html")
    return folder


BOXES = """
const box = element => {
    const range = document.createRange();
    range.selectNodeContents(element);
    const r = (element.textContent.trim() ? range : element).getBoundingClientRect();
    return [r.left, r.top, r.right, r.bottom];
};
return [...document.querySelectorAll(arguments[0])].map(box);
"""


def boxes(browser: webdriver.Chrome, css: str) -> np.ndarray:
    """Return float (n, 4), left, top, right, bottom: of each element's text, or itself without."""
    return np.array(browser.execute_script(BOXES, css), dtype=float).reshape(-1, 4)


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return bool (n, m): the boxes that share more than half a pixel each way."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return (high - low > 0.5).all(axis=2)


def assert_apart(found: np.ndarray) -> None:
    hits = overlaps(found, found)
    np.fill_diagonal(hits, False)
    assert not hits.any(), np.argwhere(hits)


def opened(browser: webdriver.Chrome, folder: Path, width: int) -> None:
    """Open the report of a folder in a window of ``width`` pixels."""
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get((folder / "report.html").as_uri())


@pytest.mark.parametrize("width", [1200, 360])
def test_no_label_covers_a_bar_or_another_label(
    browser: webdriver.Chrome, crowded: Path, width: int
) -> None:
    opened(browser, crowded, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    n = len(MODELS) + 4
    # accuracy, hybrid against single with their difference, and six slices: one has no figures
    assert len(boxes(browser, ".bars tr")) == n + 3 + 6 * n
    bars = np.concatenate([boxes(browser, f".{kind}") for kind in ("bar", "whisker", "point")])
    assert len(bars) == (n * 2) + (2 * 2 + 2) + 6 * n
    labels = boxes(browser, ".bars th, .bars td:last-child, h3, h2, figcaption")
    assert not overlaps(labels, bars).any()
    assert_apart(labels)
    tracks = boxes(browser, ".bars .track")
    assert tracks[:, 0].min() - 1 <= bars[:, 0].min()
    assert bars[:, 2].max() <= tracks[:, 2].max() + 1

    texts = boxes(browser, "#variety svg text")
    assert len(boxes(browser, "#variety svg text.label")) == n
    assert_apart(texts)
    assert not overlaps(texts, boxes(browser, "#variety circle")).any()
    frame = boxes(browser, "#variety figure")[0]
    assert (texts[:, 0] >= 0).all()
    assert (texts[:, 2] <= width).all()
    assert (texts[:, 3] <= frame[3]).all()

    assert_apart(boxes(browser, ".heat th"))
    keys = boxes(browser, ".keys i, .keys span")
    assert not overlaps(keys, boxes(browser, ".heat td")).any()
    assert boxes(browser, ".heat td")[:, 2].max() <= width  # all models without scrolling


CELLS = """
return [...document.querySelectorAll(".heat td[data-p]")].map(cell => ({...cell.dataset,
    text: cell.textContent.trim(), colour: getComputedStyle(cell).backgroundColor,
    row: cell.parentNode.querySelector("th").textContent,
    column: cell.closest("table").rows[0].cells[cell.cellIndex].textContent}));
"""


def assert_heat_map(browser: webdriver.Chrome, folder: Path) -> None:
    """Fail unless the heat map that is shown says what significance.csv says."""
    opened(browser, folder, 1200)
    cells = browser.execute_script(CELLS)
    pairs = pd.read_csv(folder / "significance.csv")
    assert len(cells) == 2 * len(pairs)
    numbers = {cell["row"].split()[1]: cell["row"].split()[0] for cell in cells}
    shown = {(cell["row"].split()[0], numbers[cell["column"]]): cell for cell in cells}
    colours: dict[str, set[str]] = {"+": set(), "−": set(), "": set()}
    for one in pairs.itertuples():
        better, worse = shown[one.better, one.worse], shown[one.worse, one.better]
        for cell, sign in ((better, 1), (worse, -1)):
            assert float(cell["p"]) == pytest.approx(one.p, rel=1e-4)
            assert float(cell["difference"]) == pytest.approx(sign * one.difference, rel=1e-4)
        found = one.p < 0.05
        assert (better["text"], worse["text"]) == (("+", "−") if found else ("", ""))
        for cell in (better, worse):
            colours[cell["text"]].add(cell["colour"])
    assert not colours["+"] & colours["−"]
    assert not colours[""] & (colours["+"] | colours["−"])


def test_the_heat_map_shows_the_pairs_of_the_table(
    browser: webdriver.Chrome, crowded: Path
) -> None:
    assert_heat_map(browser, crowded)
    texts = [cell["text"] for cell in browser.execute_script(CELLS)]
    assert {"+", "−", ""} == set(texts)


def test_the_stages_own_report_opens_and_says_how_the_hybrid_does(
    browser: webdriver.Chrome, reported: tuple[Path, Settings]
) -> None:
    root, settings = reported
    assert_heat_map(browser, root / "reports/evaluation")
    table = pd.read_csv(root / "reports/evaluation.csv").set_index("model")["ndcg@10"]
    single = table[settings.train.candidates].idxmax()
    text = browser.find_element("id", "versus").text
    assert f"The best single model is {single}" in text
    assert f"{table['hybrid'] - table[single]:+.3f} (95 % interval" in text
    assert re.search(r"^(Yes|No, it is worse|Not significantly)\.", text, re.MULTILINE)
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
