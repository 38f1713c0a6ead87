"""Report on the language model: the stage ``text``.

In: the encoder without further training, ``models/language/{pretrained,finetuned}`` and their
reports, ``reports/understanding.json``, ``data/prepared``. Out: ``reports/text.json`` (DVC's
metrics) and ``reports/text/report.html``, one file that contains its plots: losses, perplexity,
nearest products before and after, a map of the catalogue, and the metrics of the content
recommender with each encoder on the test window. For a catalogue in several languages it also has
these metrics, search and perplexity by language.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
import pandas as pd
from babel import Locale
from scipy.stats import binomtest
from sklearn.manifold import TSNE

from components.arrays import BoolArray, DoubleArray, FloatArray, IntArray, TextArray
from components.data.dataset import Catalogue, Prepared, item_text, load_prepared
from components.data.holdout import Task, window_task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import interval, lists
from components.language.augmentation import purchases
from components.language.encoder import TextEncoder
from components.language.retrieval import count_words, having_all, made_queries, words_of
from components.recommenders.factory import build
from components.recommenders.models.content import Content
from components.recommenders.models.tfidf import TFIDF
from components.settings import Settings
from components.words.analyser import Words
from components.words.segmentation import normalise

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
"""Categories or languages with their own colour on the map."""
SEARCHED = 300
"""Products of each language, at most, that are looked for by words of their text."""
FIRST = 10
"""Places of a search in which the product must be."""
FEW = 30
"""Users or queries of a language below which the report says that they are few."""
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


def languages_of(texts: Sequence[str]) -> TextArray | None:
    """Return the language of each text, the most probable one of the catalogue; None for a
    catalogue in one language."""
    words = Words.of(texts)
    if len(words.languages) < 2:
        return None
    found = np.array([words.language(normalise(text)) for text in texts])
    return found if len(np.unique(found)) > 1 else None


def language_name(code: str) -> str:
    """Return the English name of an ISO 639-1 code; the code where it is not known.

    >>> language_name("de")
    'German'
    """
    return str(Locale("en").languages.get(code, code))


def _largest_first(languages: TextArray) -> dict[str, int]:
    """Return the number of products of each language."""
    return {str(code): int(n) for code, n in pd.Series(languages).value_counts().items()}


def content_metrics(
    prepared: Prepared,
    settings: Settings,
    whiten: bool = True,
    languages: TextArray | None = None,
) -> dict[str, Any]:
    """Return the content recommender's metrics on the test window with its catalogue's vectors.

    New items are those without a purchase in the training window, which fine-tuning never saw;
    their purchases in the test window measure cold start. languages: of the products; with them
    ``languages`` has the same metrics for the purchases of each language's products, in lists over
    the whole catalogue.
    """
    before = prepared.interactions.where(prepared.interactions.times < prepared.test_start)
    task = window_task(prepared, "test", settings.train.exclude_seen)
    sold = np.bincount(prepared.interactions.split("train").items, minlength=before.n_items)
    found: dict[str, Any] = {}
    content = settings.train.content.model_copy(update={"whiten": whiten})
    models = {"content": Content(content), "tfidf": TFIDF(settings.train.tfidf)}
    if prepared.catalogue.vectors is None:
        del models["content"]
    else:
        del models["tfidf"]
    for model in models.values():
        ids = lists(model.fit(before, prepared.catalogue), task, 10, settings.train.exclude_seen)
        found |= _scores(ids, task, sold == 0, settings)
        if languages is not None:
            found["languages"] = {}
            for code in _largest_first(languages):
                rows, targets = task.only(languages == code)
                part = Task(task.users[rows], task.histories.pick(rows), targets)
                found["languages"][code] = _scores(ids[rows], part, sold == 0, settings)
    return found


def _scores(ids: IntArray, task: Task, new: BoolArray, settings: Settings) -> dict[str, Any]:
    """Return the NDCG of lists on all targets and on ``new`` ones, with intervals and users."""
    rows, targets = task.only(new)
    found: dict[str, Any] = {"users": len(task.users), "new_item_users": len(rows)}
    for name, each in (
        ("ndcg@10", ndcg(ids, task.targets)),
        ("new_items_ndcg@10", ndcg(ids[rows], targets)),
    ):
        low, high = interval(each, settings.evaluate.bootstrap_samples, settings.seed)
        mean = float(each.mean()) if len(each) else float("nan")
        found |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    return found


@dataclass(frozen=True)
class Queries:
    """Synthetic queries in one language. products: int (queries,), each query is words of its text.
    having: bool (queries, products), the texts with all words of the query."""

    texts: list[str]
    products: IntArray
    having: BoolArray

    def found(self, asked: FloatArray, vectors: FloatArray) -> BoolArray:
        """Return bool (queries,): whether the product is among the FIRST of the catalogue.

        asked: (queries, width), vectors: (products, width), of length 1. Other products that have
        all words of the query are right as well, so they take no place.
        """
        near = asked @ vectors.T
        own = near[np.arange(len(asked)), self.products, None]
        return ((near > own) & ~self.having).sum(axis=1) < FIRST


def queries_by_language(texts: list[str], languages: TextArray, seed: int) -> dict[str, Queries]:
    """Return queries for at most SEARCHED products of each language, drawn at random from those
    whose texts have a word."""
    found = {}
    for code in _largest_first(languages):
        order = np.random.default_rng(seed).permutation(np.flatnonzero(languages == code))
        worded = (item for item in order if words_of(texts[item]))
        drawn = np.fromiter(islice(worded, SEARCHED), int)
        if not len(drawn):
            continue
        queries = made_queries([texts[item] for item in drawn], seed)
        text_words, query_words = count_words(texts, queries)
        found[code] = Queries(queries, drawn, having_all(query_words, text_words))
    return found


def searched(
    encoder: TextEncoder, vectors: FloatArray, queries: dict[str, Queries]
) -> dict[str, dict[str, float]]:
    """Return, by language, the share of queries that find their product, with Wilson's interval."""
    shares = {}
    for code, one in queries.items():
        found = one.found(encoder.encode(one.texts, kind="query"), vectors)
        shares[code] = {"queries": len(found), **_share("found@10", int(found.sum()), len(found))}
    return shares


def _share(name: str, right: int, of: int) -> dict[str, float]:
    interval = binomtest(right, of).proportion_ci(method="wilson")
    return {name: right / of, f"{name}_low": interval.low, f"{name}_high": interval.high}


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


def catalogue_map(vectors: FloatArray, groups: pd.Series, seed: int) -> str:
    """Return the plot of products in two dimensions (t-SNE: van der Maaten and Hinton 2008).

    groups: of each product, its category or language, which has a colour.
    """
    places = TSNE(
        init="pca",
        metric="cosine",
        perplexity=min(30.0, (len(vectors) - 1) / 3),
        max_iter=500,
        random_state=seed,
    ).fit_transform(vectors)
    common = groups.value_counts().index[:COLOURS]
    figure, axes = plt.subplots(figsize=(8, 6))
    rest = ~groups.isin(common).to_numpy()
    if rest.any():
        x, y = places[rest].T
        axes.scatter(x, y, s=4, color="#cccccc", label="other")
    for name in common:
        x, y = places[(groups == name).to_numpy()].T
        axes.scatter(x, y, s=9, label=name)
    axes.set(xticks=[], yticks=[])
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
    return picture(figure)


PAGE = """{% macro mean(one, name, cases, of) %}{% if cases %}{{ "%.4f" | format(one[name]) }}
({{ "%.4f" | format(one[name + "_low"]) }} – {{ "%.4f" | format(one[name + "_high"]) }})<br>
{{ "{:,}".format(cases) }} {{ of }}{{ ": few" if cases < few }}{% else %}no {{ of }}{% endif %}
{%- endmacro %}<!doctype html><html lang="en"><meta charset="utf-8"><title>Language model</title>
<meta name="viewport" content="width=device-width">
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;font-size:.85rem}td,th{padding:.25rem .6rem;text-align:left;
vertical-align:top;border-bottom:1px solid #ddd}img{max-width:100%}.wide{overflow-x:auto}
.figures td{white-space:nowrap}</style>
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
{% if languages %}<h2>By language</h2>
<p>The products are in {{ spoken }}: a product's language is the most probable one of its text.
<em>All</em> and <em>new products</em> are the NDCG@10 of the purchases of a language's products, in
lists over the whole catalogue. <em>Search</em> is the share of searches that find their product
among the first {{ first }}; a search is one to three words of the text of a product of this
language. With fewer than {{ few }} users or searches, marked as few, the intervals are wide, and
those of NDCG@10 still too narrow.</p>
<div class="wide figures"><table><tr><th>language</th><th>vectors</th><th>all</th>
<th>new products</th><th>search</th></tr>
{% for name, code in languages.items() %}{% for title, one in figures.items() %}
{% set own = one.languages[code] %}<tr><td>{{ name if loop.first }}</td><td>{{ title }}</td>
<td>{{ mean(own, "ndcg@10", own.users, "users") }}</td>
<td>{{ mean(own, "new_items_ndcg@10", own.new_item_users, "users") }}</td>
<td>{% if own.queries %}{{ mean(own, "found@10", own.queries, "searches") }}{% else %}–{% endif %}
</td></tr>{% endfor %}{% endfor %}</table></div>{% endif %}
{% if understood %}<h2>Shoppers' messages by language</h2>
<p>The tagger of the conversation on new sentences that are made like those that it was trained on:
the share whose intent is right, and the share of which every labelled part is, with 95 % intervals.
Real shoppers write otherwise: <code>python -m benchmarks.needs</code> measures that.</p>
<div class="wide figures"><table><tr><th>language</th><th>intent</th><th>parts</th></tr>
{% for name, one in understood.items() %}<tr><td>{{ name }}</td>
<td>{{ mean(one, "intent_accuracy", one.sentences, "sentences") }}</td>
<td>{{ mean(one, "parts_accuracy", one.sentences, "sentences") }}</td></tr>{% endfor %}
</table></div>{% endif %}
<h2>Training</h2>
<p>Perplexity on held-out text {{ "{:,.1f}".format(before) }} before and
{{ "{:,.1f}".format(after) }} after pre-training. An encoder without stored weights of its
pre-training head, such as the packaged one, starts with random predictions.</p>
{% if perplexity %}<p>By the language of the text, with 95 % intervals over parts of the documents;
texts whose language is not clear are left out. Compare before and after, not two languages, whose
words are of different numbers of tokens.</p>
<div class="wide figures"><table><tr><th>language</th><th>documents</th><th>before</th>
<th>after</th></tr>
{% for name, one in perplexity.items() %}<tr><td>{{ name }}</td>
<td>{{ "{:,}".format(one.documents) }}{{ ": few" if one.documents < few }}</td>
{% for each in (one.before, one.after) %}<td>{{ "{:,.1f}".format(each.perplexity) }}
{% if each.low is not none %}({{ "{:,.1f}".format(each.low) }} –
{{ "{:,.1f}".format(each.high) }}){% endif %}</td>{% endfor %}</tr>{% endfor %}
</table></div>{% endif %}
<img alt="losses by step" src="{{ losses }}">
<h2>Map of the catalogue</h2>
<p>The {{ mapped }} most sold products by their fine-tuned vectors; products near each
other are similar to the model.{% if languages %} The colours are languages.{% endif %}</p>
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


def _perplexities(pretrain: dict[str, Any], spoken: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the perplexities of a ``pretrain.json`` by language, of those of the catalogue: a
    classifier takes some short texts for other languages."""
    by_language = pretrain.get("languages", {"before": {}, "after": {}})
    return {
        language_name(code): {
            "documents": before["documents"],
            "before": before,
            "after": by_language["after"][code],
        }
        for code, before in by_language["before"].items()
        if code in spoken
    }


def _understood(file: Path) -> dict[str, dict[str, Any]]:
    """Return the tagger's accuracy by shoppers' language; none of a tagger of one language, and
    none where the grammar understands."""
    by_language = json.loads(file.read_text()).get("languages", {})
    found = {}
    for code, one in by_language.items() if len(by_language) > 1 else ():
        n = one["sentences"]
        shares = [_share(k, round(one[k] * n), n) for k in ("intent_accuracy", "parts_accuracy")]
        found[language_name(code)] = {"sentences": n, **shares[0], **shares[1]}
    return found


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
    languages = languages_of(texts)
    queries = {} if languages is None else queries_by_language(texts, languages, settings.seed)
    vectors, shares = {}, {}
    for title, place in places.items():
        if not place.startswith("scratch:"):
            encoder = TextEncoder(place, s.max_length, s.batch_tokens, s.precision)
            vectors[title] = encoder.encode(texts, True)
            shares[title] = searched(encoder, vectors[title], queries)
    figures = {"words (TF-IDF)": content_metrics(prepared, settings, languages=languages)}
    for title, found in vectors.items():
        over = replace(prepared, catalogue=Catalogue(table, found))
        whiten = title != FINETUNED or settings.train.content.whiten
        one = content_metrics(over, settings, whiten, languages)
        for code, share in shares[title].items():
            one["languages"][code] |= share
        figures[f"encoder {title}"] = one
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
    spoken = {} if languages is None else _largest_first(languages)
    groups = table["main_category"].fillna("none")
    if languages is not None:
        groups = pd.Series([language_name(code) for code in languages])
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
                groups.iloc[mapped],
                settings.seed,
            ),
            mapped=f"{len(mapped):,}",
            near=near,
            ablation=list(ablation(over, settings, [ABLATED], CONFIDENCES)),
            rare=settings.augment.rare,
            augmented=settings.augment.purchases,
            languages={language_name(code): code for code in spoken},
            spoken=", ".join(f"{language_name(code)} ({n:,})" for code, n in spoken.items()),
            perplexity=_perplexities(pretrain, spoken),
            understood=_understood(reports / "understanding.json"),
            first=FIRST,
            few=FEW,
        )
    )
    for title, one in figures.items():
        print(f"{title:<24}NDCG@10 {one['ndcg@10']:.4f}, new {one['new_items_ndcg@10']:.4f}")
