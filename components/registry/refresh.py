"""Refresh: the champion takes in the newest data and is published as a version of its own.

In: the champion's folder and ``data/prepared``, which the stages up to ``preprocess`` wrote. Out: a
version in MLflow, its folder below ``var/serving/models``, and the pointer that the endpoint
follows. Nothing is trained (see ``recommenders.refresh``); new products' texts are encoded with the
champion's own language model.

A refreshed version is the champion at once, because it has the champion's ranker and settings, and
there is no held-out data to compare it on. Its lists must keep sanity limits
(``evaluation.sanity``), and it is held if first pages show a product more often than known
customers explain (``evaluation.exposure``): compared with the trained version, so that many small
gains, of a refresh each, add up. For the next comparison, the version that it was refreshed from
stands for it (``versions.REFRESHED_FROM``), which ``previous`` names, too.

The version is complete before an alias names it. If the process is killed before, the champion
stays; the next refresh removes what is left over.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from components.alerts import raise_alert, resolve_alerts
from components.arrays import FloatArray
from components.data.dataset import Catalogue, Prepared, load_prepared
from components.data.profiles import write_profiles
from components.evaluation.guardrails import Guardrail
from components.evaluation.promotion_hold import read_promotion_hold
from components.evaluation.sanity import compare_lists, unusable_candidates
from components.manifest import write_manifest
from components.notifications import deliver
from components.permissions import close_tree
from components.recommenders.refresh import carried_vectors, refresh
from components.recommenders.shelves.statistics import FOLDER as SHELVES
from components.recommenders.shelves.statistics import ShelfStatistics
from components.recommenders.two_stage.hybrid import Hybrid
from components.registry.artifacts import log_refreshed, restore_served
from components.registry.folders import SERVING, folder_digest, put_in_place
from components.registry.promotion import held_for_exposure, promote_refreshed, remove_unused
from components.registry.versions import (
    CHAMPION,
    REFRESHED_FROM,
    Registry,
    RegistryError,
    reachable,
)
from components.settings import Settings
from components.timeline import record

BY = "refresh"
"""In the timeline."""
REPORT = Path("reports/refresh.json")
SERVING_PARTS = ("encoder", "understanding", "reference", "metrics.json", "params.yaml")
"""Parts of the champion's folder that a refreshed version has unchanged."""
_TEMPLATE = Path(__file__).parent / "refreshed_card.md.jinja"


class RefreshRefused(ValueError):
    """The refreshed model is not published; the message says why. The champion stays."""


@dataclass
class Refresh:
    """What a refresh did, as in ``reports/refresh.json``.

    source: the champion that was refreshed. version: the new champion, None if none was published.
    reason: why none was, or what failed after it was. until: the newest event, UTC. new_items:
    products that ``source`` did not have. guardrails: see ``evaluation.sanity``. exposure: products
    whose gain of first pages holds promotions, see ``exposure.ExposureGain``. seconds: by part.
    """

    source: str
    version: str | None = None
    reason: str | None = None
    until: str | None = None
    interactions: int = 0
    new_items: int = 0
    guardrails: tuple[Guardrail, ...] = ()
    exposure: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**vars(self), "guardrails": [vars(one) for one in self.guardrails]}

    def sentence(self) -> str:
        """Return what became of the champion."""
        if self.version is None:
            return f"version {self.source} stays: {self.reason}"
        published = f"version {self.version}, refreshed until {self.until}, is the champion"
        return published if self.reason is None else f"{published}, but then: {self.reason}"

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Measure the seconds of a part, and print them."""
        began = time.perf_counter()
        yield
        self.seconds[part] = round(time.perf_counter() - began, 2)
        print(f"{part:<22}{self.seconds[part]:>8.1f} s", flush=True)


def run(settings: Settings, root: Path) -> dict[str, Any]:
    """Refresh the champion with ``data/prepared`` below ``root``; write and return the report.

    Nothing is published if the champion has these data already, another version became the
    champion in between, or promotions are held (``evaluation.promotion_hold``), also by the refresh
    itself because of an unexplained gain of exposure.

    Raises:
        RegistryError: there is no champion, or MLflow cannot be reached.
        RefreshRefused: the refreshed model did not pass the checks; an alert is raised.
    """
    with reachable():
        registry = Registry(settings, root)
        with registry.lock():
            source = registry.alias(CHAMPION)
            if source is None:
                raise RegistryError("there is no champion to refresh: run `bowerbird run` first")
            restore_served(registry, source)
            report = Refresh(source)
        try:
            _refresh(registry, report)
        except Exception as error:
            report.reason = str(error) or type(error).__name__
            record(root, "refusal", f"refresh refused, {report.sentence()}", BY, report.as_dict())
            raise_alert(root, "refresh", {"champion": report.sentence()}, BY)
            raise
        else:
            if report.version is not None:
                resolve_alerts(root, "refresh", report.sentence(), BY)
        finally:
            deliver(root, settings)
            (root / REPORT).write_text(json.dumps(report.as_dict(), indent=2))
    print(report.sentence())
    return report.as_dict()


def _refresh(registry: Registry, report: Refresh) -> None:
    settings, root = registry.settings, registry.root
    if _held(root, report):
        return
    with report.timed("load"):
        data_version = folder_digest(root / "data/prepared")
        if registry.tags(report.source).get("data_version") == data_version:
            report.reason = "it was fitted on these data already"
            return
        prepared = load_prepared(root / "data/prepared")
        champion = Hybrid.load(registry.folders.served(report.source))
        newest = int(prepared.interactions.times.max())
        _check_newer(champion, newest)
    with report.timed("encode"):
        table = prepared.catalogue.table
        report.new_items = int((~table["item_id"].isin(champion.catalogue.ids)).sum())
        encode = _Encoder(settings, registry.folders.served(report.source), report.source)
        vectors = carried_vectors(champion.catalogue, table, encode)
        prepared = replace(prepared, catalogue=Catalogue(table, vectors))
    with report.timed("refresh"):
        model = refresh(champion, prepared.interactions, prepared.catalogue, settings.augment)
        report.until = _moment(newest)
        report.interactions = len(prepared.interactions)
    with report.timed("check"):
        report.guardrails = compare_lists(champion, model, prepared, settings)
        _check(model, prepared, report.guardrails, settings.seed)
    with report.timed("exposure"):
        trained = registry.evaluated(report.source)
        before = champion if trained == report.source else trained
        report.exposure = held_for_exposure(registry, before, model, prepared, BY)
        if _held(root, report):
            return
    with report.timed("publish"):
        _publish(registry, model, prepared, report, data_version)


def _held(root: Path, report: Refresh) -> bool:
    """Return whether promotions are held, which the report and the timeline then say."""
    hold = read_promotion_hold(root)
    if hold is None:
        return False
    report.reason = str(hold)
    record(root, "refusal", f"refresh refused, {report.sentence()}", BY, report.as_dict())
    return True


def _check_newer(champion: Hybrid, newest: int) -> None:
    """Raise ``RefreshRefused`` if the data end before the champion's, as when a file is lost."""
    until = champion.trained_until
    if until is not None and newest < until:
        raise RefreshRefused(
            f"the newest event of data/prepared is of {_moment(newest)}, but the champion was "
            f"fitted on events until {_moment(until)}: is a file of ingest missing?"
        )


def _moment(seconds: int) -> str:
    """Return the time in UTC."""
    return f"{pd.Timestamp(seconds, unit='s'):%Y-%m-%d %H:%M:%S} UTC"


class _Encoder:
    """Encodes new texts with the language model of a version, loaded at the first call."""

    def __init__(self, settings: Settings, folder: Path, version: str) -> None:
        self._settings = settings.encode
        self._folder = folder / "encoder"
        self._version = version

    def __call__(self, texts: list[str]) -> FloatArray:
        """Return float32 (texts, width).

        Raises:
            RefreshRefused: the version has no language model.
        """
        if not self._folder.is_dir():
            raise RefreshRefused(
                f"version {self._version} has no language model for the texts of "
                f"{len(texts):,} new products: train with `bowerbird run`"
            )
        from components.language.encoder import TextEncoder  # takes seconds; often nothing is new

        s = self._settings
        encoder = TextEncoder(self._folder, s.max_length, s.batch_tokens, s.precision)
        return encoder.encode(texts, progress=True)


def _check(model: Hybrid, prepared: Prepared, guardrails: tuple[Guardrail, ...], seed: int) -> None:
    """Raise ``RefreshRefused`` if the model must not be served."""
    refusals = [one.refusal("champion") for one in guardrails if not one.passed]
    if unusable := unusable_candidates(model, prepared, seed):
        refusals.append(f"scores of {', '.join(unusable)} are not finite")
    if refusals:
        raise RefreshRefused("; ".join(refusals))


def _publish(
    registry: Registry, model: Hybrid, prepared: Prepared, report: Refresh, data_version: str
) -> None:
    """Register the model and make it the champion, unless the champion was replaced since."""
    folders, root = registry.folders, registry.root
    with registry.lock():
        champion = registry.alias(CHAMPION)
        if champion != report.source:
            report.reason = f"version {champion} became the champion during the refresh"
            return
        evaluated = registry.evaluated(report.source)
        source_tags = registry.tags(report.source)
        card = _card(registry, prepared, report, evaluated, data_version)
        new = folders.new()
        shutil.rmtree(new, ignore_errors=True)
        model.save(new)
        ShelfStatistics.of_prepared(prepared).save(new / SHELVES)
        for name in SERVING_PARTS:
            part = folders.served(report.source) / name
            if part.is_dir():
                shutil.copytree(part, new / name)
            elif part.exists():
                shutil.copy(part, new / name)
        (new / "model_card.md").write_text(card, encoding="utf-8")
        write_manifest(new)
        tags = {
            "data_version": data_version,
            "digest": folder_digest(new),
            REFRESHED_FROM: evaluated,
            "source_version": report.source,
            "trained_until": str(report.until),
        }
        if "ndcg_at_10" in source_tags:
            tags["ndcg_at_10"] = source_tags["ndcg_at_10"]
        version = log_refreshed(registry, new, card, tags)
        put_in_place(new, folders.served(version))
        write_profiles(prepared, folders.profiles(version))
        promote_refreshed(registry, version)
        report.version = version
        # A worker may still be loading the version of before.
        remove_unused(registry, in_use=[report.source])
        for folder in (root / SERVING, root / registry.settings.register_.artifacts):
            if folder.is_dir():
                close_tree(folder)
        record(root, "refresh", report.sentence(), BY, report.as_dict())


def _card(
    registry: Registry, prepared: Prepared, report: Refresh, evaluated: str, data_version: str
) -> str:
    """Return the model card as Markdown, which ends with the card of the evaluated version."""
    card = registry.client.get_model_version(registry.name, evaluated).description or ""
    environment = jinja2.Environment(autoescape=True)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        name=registry.name,
        source=report.source,
        evaluated=evaluated,
        until=report.until,
        interactions=f"{len(prepared.interactions):,}",
        users=f"{len(prepared.users):,}",
        items=f"{len(prepared.catalogue):,}",
        new_items=f"{report.new_items:,}",
        data_version=data_version,
        guardrails=report.guardrails,
        card="\n".join(card.splitlines()[1:]).replace("\n#", "\n##").strip(),
    )
