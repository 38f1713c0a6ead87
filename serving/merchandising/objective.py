"""The command ``bowerbird objective``: what each weight of an objective costs and brings.

In: a shop's folder. Out: a table, and a picture of weight → NDCG and value, with 95 % intervals.

The model is that of the evaluation (``models/hybrid``), which was fitted before the test window, so
its purchases are held out. Where there is none it is the one in service, and only purchases since
its training count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from components.data.attributes import shown
from components.data.event_kinds import EventKinds
from components.json_files import write_json
from components.settings import Settings
from serving.events.store import open_store
from serving.filters.expression import schema_of
from serving.health import Health
from serving.merchandising.estimate import Change, Estimates, Gain, RuleEstimator
from serving.merchandising.rulebook import RulebookReader
from serving.merchandising.rules import Rule, named
from serving.models.versions import find_served, profiles_file
from serving.profiles.profiles import BaseProfiles, LiveProfiles, Profiles
from serving.recommend.engine import Engine
from serving.recommend.pipeline import Pipeline

JUDGED = Path("models/hybrid")
DRAFT = "objective"


def try_weights(
    settings: Settings,
    root: Path,
    by: str,
    weights: Sequence[float],
    where: str | None,
    surface: str,
    k: int,
    most: int,
) -> Estimates:
    """Return the estimates without the objective, then with each weight.

    Raises:
        ValueError: the attribute or the filter does not exist, or the surface has no estimate.
        FileNotFoundError: there is no model.
        StoreError: the event store failed.
    """
    schema = schema_of(settings)
    rules = [
        Rule(name=DRAFT, action="objective", by=by, weight=one, where=where) for one in weights
    ]
    for rule in rules:
        rule.check(schema)
    source, _ = find_served(root)
    if (root / JUDGED / "model.json").exists():
        source = replace(source, folder=root / JUDGED)
    engine = Engine.load(source.folder, source.version, shown(settings))
    with open_store(settings.serve.events_url.get_secret_value(), root) as store:
        serve, vocabulary = settings.serve, engine.model.attributes.users
        live = LiveProfiles(store, serve.max_history, EventKinds.of(settings.preprocess))
        file = profiles_file(root, source)
        if file is None:
            base = BaseProfiles.empty(engine.items, engine.model.trained_until or 0)
        else:
            base = BaseProfiles.load(file, engine.items, live.erased_at, vocabulary)
        profiles = Profiles(base, live, engine.items, serve.max_history)
        reader = RulebookReader(store.database, schema, Health())
        reader.refresh()
        books = [reader.book, *(reader.book.changed({DRAFT: rule}) for rule in rules)]
        pipeline = Pipeline(engine, serve)
        estimator = RuleEstimator(pipeline, profiles, store.database, settings, most)
        return estimator.compare(books, named(by), surface, k)


def table_of(by: str, weights: Sequence[float], found: Estimates) -> str:
    """Return the estimates as a Markdown table, and in words what could not be estimated."""
    head = ("weight", "NDCG", "change in NDCG", f"mean {by} shown", f"{by} a list", "purchases")
    lines = [" | ".join(head), "|".join(["---"] * len(head))]
    for weight, one in zip((0.0, *weights), found.outcomes, strict=True):
        cells = (
            f"{weight:g}",
            "–" if one.ndcg is None else f"{one.ndcg:.4f}",
            _said(one.price),
            "–" if one.shown is None else f"{one.shown:.3f}",
            _said(one.value.gain if weight else None),
            _said(one.purchases.gain if weight else None),
        )
        lines.append(" | ".join(cells))
    lines = [f"| {line} |" for line in lines]
    lines += ["", f"{found.shoppers} shoppers, {found.lists} logged lists."]
    if found.reason:
        lines.append(f"No NDCG: {found.reason}.")
    reasons: list[Gain] = [one.value for one in found.outcomes[1:]]
    for reason in dict.fromkeys(one.reason for one in reasons if one.gain is None):
        lines.append(f"No gain estimated: {reason}.")
    return "\n".join(lines)


def write(folder: Path, by: str, weights: Sequence[float], found: Estimates) -> None:
    """Write estimates.json, estimates.md and estimates.svg to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "estimates.json", {"by": by, "weights": list(weights), **asdict(found)})
    (folder / "estimates.md").write_text(table_of(by, weights, found) + "\n", encoding="utf-8")
    draw(folder / "estimates.svg", by, weights, found)


def draw(file: Path, by: str, weights: Sequence[float], found: Estimates) -> None:
    """Draw the change in NDCG, the mean of the attribute shown, and the gain by the weight."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3), layout="constrained")
    places = figure.subplots(1, 3)
    after = found.outcomes[1:]
    panels: list[tuple[str, list[Change | None]]] = [
        ("change in NDCG", [one.price for one in after]),
        (
            f"mean {by} shown",
            [None if one.shown is None else Change(*[one.shown] * 3) for one in after],
        ),
        (f"{by} a list, gain", [one.value.gain for one in after]),
    ]
    for place, (title, changes) in zip(places, panels, strict=True):
        there = [(w, one) for w, one in zip(weights, changes, strict=True) if one is not None]
        place.set(title=title, xlabel="weight")
        if not there:
            place.text(0.5, 0.5, "no estimate", ha="center", transform=place.transAxes)
            continue
        x, y = [w for w, _ in there], [one.value for _, one in there]
        low = [one.value - one.low for _, one in there]
        high = [one.high - one.value for _, one in there]
        place.errorbar(x, y, yerr=[low, high], marker="o", capsize=3)
        if title != panels[1][0]:
            place.axhline(0, color="grey", linewidth=0.8)
    figure.savefig(file)


def _said(change: Change | None) -> str:
    if change is None:
        return "–"
    return f"{change.value:+.4f} [{change.low:+.4f}, {change.high:+.4f}]"
