"""Report on the language model: the stage ``text``.

In: the encoder without further training, ``models/language/{pretrained,finetuned}`` and their
reports, ``data/prepared``. Out: ``reports/text.json`` (DVC's metrics) and
``reports/text/report.html``, one file that contains its plots: losses, perplexity, nearest products
before and after, a map of the catalogue, and the metrics of the content recommender with each
encoder on the test window.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
import pandas as pd
from sklearn.manifold import TSNE

from components.arrays import DoubleArray, FloatArray, IntArray
from components.data.dataset import Catalogue, Prepared, item_text, load_prepared
from components.data.holdout import window_task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import interval, lists
from components.language.augmentation import purchases
from components.language.encoder import TextEncoder
from components.recommenders.factory import build
from components.recommenders.models.content import Content
from components.recommenders.models.tfidf import TFIDF
from components.settings import Settings

mpl.use("Agg")
import matplotlib.pyplot as plt

SHOWN = 20
"""Products whose neighbours are shown."""
NEAR = 3
SAMPLE = 20_000
"""Products of a larger catalogue, drawn at random, that the report is about: the encoders compare
in the same way, and three encodings of the catalogue would take most of the stage's time."""
MAPPED = 1500
"""Products on the map, the most sold."""
COLOURS = 8
"""Categories with their own colour on the map."""
ABLATED, CONFIDENCES = "item_neighbours", (0.5, 0.7, 0.9)
"""Model and minimum confidences of the ablation of synthetic purchases."""
AS_IS, PRETRAINED, FINETUNED = "as it is", "pre-trained", "fine-tuned"


def neighbours(vectors: FloatArray, items: IntArray, k: int) -> IntArray:
    """Return int (items, k): the nearest others by cosine of unit ``vectors``, best first."""
    near = vectors[items] @ vectors.T
    near[np.arange(len(items)), items] = -np.inf
    return np.argsort(-near, axis=1, kind="stable")[:, :k]


def sample(prepared: Prepared, products: int, seed: int) -> Prepared:
    """Return the tables of at most so many products, drawn at random, with their interactions."""
    table, n = prepared.catalogue.table, len(prepared.catalogue)
    if n <= products:
        return prepared
    kept = np.sort(np.random.default_rng(seed).choice(n, products, replace=False))
    codes = np.full(n, -1, dtype=np.int32)
    codes[kept] = np.arange(products, dtype=np.int32)
    x = prepared.interactions.where(codes[prepared.interactions.items] >= 0)
    vectors = prepared.catalogue.vectors
    return replace(
        prepared,
        interactions=replace(x, items=codes[x.items], n_items=products),
        catalogue=Catalogue(
            table.iloc[kept].reset_index(drop=True), None if vectors is None else vectors[kept]
        ),
    )


def content_metrics(prepared: Prepared, settings: Settings, whiten: bool = True) -> dict[str, Any]:
    """Return the content recommender's metrics on the test window with its catalogue's vectors.

    New items are those without a purchase in the training window, which fine-tuning never saw;
    their purchases in the test window measure cold start.
    """
    before = prepared.interactions.where(prepared.interactions.times < prepared.test_start)
    task = window_task(prepared, "test", settings.train.exclude_seen)
    sold = np.bincount(prepared.interactions.split("train").items, minlength=before.n_items)
    rows, targets = task.only(sold == 0)
    found: dict[str, Any] = {"users": len(task.users), "new_item_users": len(rows)}
    content = settings.train.content.model_copy(update={"whiten": whiten})
    models = {"content": Content(content), "tfidf": TFIDF(settings.train.tfidf)}
    if prepared.catalogue.vectors is None:
        del models["content"]
    else:
        del models["tfidf"]
    for model in models.values():
        ids = lists(model.fit(before, prepared.catalogue), task, 10, settings.train.exclude_seen)
        for name, each in (
            ("ndcg@10", ndcg(ids, task.targets)),
            ("new_items_ndcg@10", ndcg(ids[rows], targets)),
        ):
            low, high = interval(each, settings.evaluate.bootstrap_samples, settings.seed)
            mean = float(each.mean()) if len(each) else float("nan")
            found |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    return found


def ablation(
    prepared: Prepared, settings: Settings, models: Sequence[str], confidences: Sequence[float]
) -> Iterator[dict[str, Any]]:
    """Yield the metrics of each model with and without synthetic purchases on validation.

    A record: model, confidence (None without synthetic purchases), made (their number), users, ndcg
    and, from the second record on, low and high of its gain's 95 % interval; rare_ndcg and so on
    for users who bought a product with fewer than ``augment.rare`` purchases. Only real purchases
    are used as targets.
    """
    before = prepared.interactions.where(prepared.interactions.times < prepared.validation_start)
    task = window_task(prepared, "validation", settings.train.exclude_seen)
    rare = np.bincount(before.items, minlength=before.n_items) < settings.augment.rare
    rows, targets = task.only(rare)
    plain: dict[str, tuple[DoubleArray, DoubleArray]] = {}
    for least in (None, *confidences):
        train, made = before, 0
        if least is not None:
            changed = settings.augment.model_copy(update={"min_confidence": least})
            train, added = purchases(before, prepared.catalogue, changed, settings.seed)
            made = len(added)
        for name in models:
            model = build(name, settings).fit(train, prepared.catalogue)
            ids = lists(model, task, 10, settings.train.exclude_seen)
            each, few = ndcg(ids, task.targets), ndcg(ids[rows], targets)
            plain.setdefault(name, (each, few))
            low, high = interval(each - plain[name][0], 500, settings.seed)
            rare_low, rare_high = interval(few - plain[name][1], 500, settings.seed)
            yield {
                "model": name, "confidence": least, "made": made,
                "users": len(each), "ndcg": float(each.mean()), "low": low, "high": high,
                "rare_users": len(few), "rare_ndcg": float(few.mean()) if len(few) else 0.0,
                "rare_low": rare_low, "rare_high": rare_high,
            }  # fmt: skip


def picture(figure: Any) -> str:
    """Return a figure as a data URL."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def losses(logs: dict[str, pd.DataFrame]) -> str:
    """Return the plot of the training losses by step."""
    figure, panels = plt.subplots(1, len(logs), figsize=(4.5 * len(logs), 3), squeeze=False)
    for axes, (title, log) in zip(panels[0], logs.items(), strict=True):
        axes.plot(log["step"], log["loss"], color="#3b6ea5")
        axes.set(title=title, xlabel="step", ylabel="loss")
    figure.tight_layout()
    return picture(figure)


def catalogue_map(vectors: FloatArray, categories: pd.Series, seed: int) -> str:
    """Return the plot of products in two dimensions (t-SNE: van der Maaten and Hinton 2008)."""
    places = TSNE(
        init="pca",
        metric="cosine",
        perplexity=min(30.0, (len(vectors) - 1) / 3),
        max_iter=500,
        random_state=seed,
    ).fit_transform(vectors)
    common = categories.value_counts().index[:COLOURS]
    figure, axes = plt.subplots(figsize=(8, 6))
    rest = ~categories.isin(common).to_numpy()
    if rest.any():
        x, y = places[rest].T
        axes.scatter(x, y, s=4, color="#cccccc", label="other")
    for name in common:
        x, y = places[(categories == name).to_numpy()].T
        axes.scatter(x, y, s=9, label=name)
    axes.set(xticks=[], yticks=[])
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
    return picture(figure)


PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Language model</title>
<meta name="viewport" content="width=device-width">
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;font-size:.85rem}td,th{padding:.25rem .6rem;text-align:left;
vertical-align:top;border-bottom:1px solid #ddd}img{max-width:100%}.wide{overflow-x:auto}</style>
<h1>What does the language model contribute?</h1>
<h2>Recommendations from text only</h2>
<p>The content recommender on the newest weeks, {{ users }} users; {{ new_item_users }} of them
bought a product that was never sold in the training window. NDCG@10 over all {{ products }}
products{% if sampled %} of the sample{% endif %}, with its 95 % interval.</p>
{% if sampled %}<p>The report is about {{ products }} of {{ sampled }} products, drawn at random,
and their purchases.</p>{% endif %}
<table><tr><th>vectors</th><th>all</th><th>new products</th></tr>
{% for title, one in figures.items() %}<tr><td>{{ title }}</td>
{% for name in ("ndcg@10", "new_items_ndcg@10") %}<td>{{ "%.4f" | format(one[name]) }}
({{ "%.4f" | format(one[name + "_low"]) }} – {{ "%.4f" | format(one[name + "_high"]) }})</td>
{% endfor %}</tr>{% endfor %}</table>
<h2>Training</h2>
<p>Perplexity on held-out text {{ "{:,.1f}".format(before) }} before and
{{ "{:,.1f}".format(after) }} after pre-training. An encoder without stored weights of its
pre-training head, such as the packaged one, starts with random predictions.</p>
<img alt="losses by step" src="{{ losses }}">
<h2>Map of the catalogue</h2>
<p>The {{ mapped }} most sold products by their fine-tuned vectors; products near each
other are similar to the model.</p>
<img alt="map of the catalogue" src="{{ map }}">
<h2>Synthetic purchases of rare products</h2>
<p>The model {{ ablation[0].model }} is trained with synthetic purchases of products with fewer than
{{ rare }} purchases, generated from the most similar products by text, and evaluated on the real
purchases of the validation window: NDCG@10 with the 95 % interval of the gain. Turn
<code>augment.purchases</code> on only if the interval is above 0; it is
{{ "on" if augmented else "off" }}.</p>
<table><tr><th>minimum confidence</th><th>synthetic purchases</th><th>all</th>
<th>rare products</th></tr>
{% for one in ablation %}<tr><td>{{ one.confidence or "–" }}</td>
<td>{{ "{:,}".format(one.made) }}</td>{% for name in ("", "rare_") %}<td>
{{ "%.4f" | format(one[name + "ndcg"]) }}{% if one.confidence %}
({{ "%+.4f" | format(one[name + "low"]) }} – {{ "%+.4f" | format(one[name + "high"]) }})
{% endif %}</td>{% endfor %}</tr>{% endfor %}</table>
<h2>Nearest products, before and after</h2><div class="wide"><table>
<tr><th>product</th><th>without further training</th><th>fine-tuned</th></tr>
{% for row in near %}<tr><td>{{ row.product }}</td>{% for titles in (row.before, row.after) %}
<td>{{ titles | join("; ") }}</td>{% endfor %}</tr>{% endfor %}</table></div></html>"""


def run(settings: Settings, root: Path) -> None:
    """The stage ``text``."""
    whole = load_prepared(root / "data/prepared")
    prepared = sample(whole, SAMPLE, settings.seed)
    table, reports = prepared.catalogue.table, root / "reports"
    texts, s = item_text(table), settings.encode
    places = {
        AS_IS: settings.pretrain.encoder,
        PRETRAINED: str(root / "models/language/pretrained"),
        FINETUNED: str(root / "models/language/finetuned"),
    }
    vectors = {
        title: TextEncoder(place, s.max_length, s.batch_tokens, s.precision).encode(texts, True)
        for title, place in places.items()
        if not place.startswith("scratch:")
    }
    figures = {"words (TF-IDF)": content_metrics(prepared, settings)}
    for title, found in vectors.items():
        over = replace(prepared, catalogue=Catalogue(table, found))
        whiten = title != FINETUNED or settings.train.content.whiten
        figures[f"encoder {title}"] = content_metrics(over, settings, whiten)
    (reports / "text.json").write_text(json.dumps(figures, indent=2).replace("NaN", "null"))

    sold = np.bincount(
        prepared.interactions.split("train").items, minlength=len(prepared.catalogue)
    )
    popular = np.argsort(-sold, kind="stable")
    chosen = popular[: 10 * SHOWN : 10]
    titles = table["title"].fillna("").to_numpy()
    first = next(iter(vectors.values()))
    near = [
        {"product": titles[item], "before": titles[before], "after": titles[after]}
        for item, before, after in zip(
            chosen,
            neighbours(first, chosen, NEAR),
            neighbours(vectors[FINETUNED], chosen, NEAR),
            strict=True,
        )
    ]
    mapped = popular[:MAPPED]
    over = replace(prepared, catalogue=Catalogue(table, vectors[FINETUNED]))
    pretrain = json.loads((reports / "pretrain.json").read_text())
    logs = {"pre-training": "pretrain.csv", "fine-tuning": "finetune.csv"}
    page = jinja2.Environment(autoescape=True).from_string(PAGE)
    (reports / "text").mkdir(parents=True, exist_ok=True)
    (reports / "text/report.html").write_text(
        page.render(
            figures=figures,
            products=f"{len(table):,}",
            sampled=f"{len(whole.catalogue):,}" if len(table) < len(whole.catalogue) else "",
            users=f"{next(iter(figures.values()))['users']:,}",
            new_item_users=f"{next(iter(figures.values()))['new_item_users']:,}",
            before=pretrain["perplexity_before"],
            after=pretrain["perplexity_after"],
            losses=losses({title: pd.read_csv(reports / file) for title, file in logs.items()}),
            map=catalogue_map(
                vectors[FINETUNED][mapped],
                table["main_category"].iloc[mapped].fillna("none"),
                settings.seed,
            ),
            mapped=f"{len(mapped):,}",
            near=near,
            ablation=list(ablation(over, settings, [ABLATED], CONFIDENCES)),
            rare=settings.augment.rare,
            augmented=settings.augment.purchases,
        )
    )
    for title, one in figures.items():
        print(f"{title:<24}NDCG@10 {one['ndcg@10']:.4f}, new {one['new_items_ndcg@10']:.4f}")
