"""Which model a worker serves: never a damaged one, the last good one as long as there is one."""

from __future__ import annotations

import gc
import json
import os
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components import alerts
from components.alerts import open_alerts, read_state
from components.manifest import write_manifest
from components.settings import Experiment
from serving.backend import Backend
from serving.events.catalogue_table import put_items
from serving.models import retry
from serving.models.loaded import NotReady
from tests.serving.models.registered import halve, register
from tests.serving.recommend.requests import ask_for

Make = Callable[..., Backend]


def test_a_damaged_champion_never_replaces_a_good_model(
    shop_root: Path, open_backend: Make
) -> None:
    register(shop_root, "1")
    backend = open_backend(shop_root)
    backend.load()
    assert backend.models.current().version == "1"
    ranker = shop_root / "var/serving/models/2/ranker.txt"
    content = halve(ranker)
    register(shop_root, "2", "1")
    for _ in range(3):
        backend.models.refresh()
    assert backend.models.current().version == "1"
    assert backend.health.problems == {
        "model": "version 2 cannot be loaded, serving version 1: see the log"
    }
    (alert,) = open_alerts(shop_root)
    assert (alert.kind, alert.subject, alert.count) == ("model", "champion", 1)
    assert "ranker.txt has" in alert.reason
    ranker.write_bytes(content)  # as brought back by the registry
    write_manifest(ranker.parent)
    backend.models.refresh()
    assert (
        backend.models.current().version,
        backend.health.problems,
        backend.models.load_error,
    ) == ("2", {}, None)


def test_restarted_with_a_damaged_champion_it_serves_the_one_before(
    shop_root: Path, open_backend: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(shop_root, "2", "1")
    content = halve(shop_root / "var/serving/models/2/ranker.txt")
    backend, second = open_backend(shop_root), open_backend(shop_root)
    backend.load()
    second.load()  # as another worker: the alert is raised once
    assert backend.models.current().version == "1"
    assert "serving version 1" in backend.health.problems["model"]
    (alert,) = open_alerts(shop_root)
    assert alert.count == 2
    assert len(read_state(shop_root).messages) == 1
    (shop_root / "var/serving/models/2/ranker.txt").write_bytes(content)  # from a backup
    backend.models.refresh()
    assert backend.models.current().version == "1"  # not read again each second
    monkeypatch.setattr(retry.time, "monotonic", lambda: 1e9)
    backend.models.refresh()
    assert (backend.models.current().version, backend.health.problems) == ("2", {})
    assert open_alerts(shop_root) == ()


def test_an_alert_that_cannot_be_written_keeps_no_model_from_serving(
    shop_root: Path, open_backend: Make
) -> None:
    register(shop_root, "2", "1")
    halve(shop_root / "var/serving/models/2/ranker.txt")
    (shop_root / alerts.FILE).mkdir(parents=True)  # as on a full disk: an OSError
    backend = open_backend(shop_root)
    backend.load()
    assert backend.models.current().version == "1"
    assert "serving version 1" in backend.health.problems["model"]


def test_without_any_good_model_the_error_says_what_is_wrong(
    shop_root: Path, open_backend: Make
) -> None:
    register(shop_root, "2", "1")
    for version in ("1", "2"):
        halve(shop_root / f"var/serving/models/{version}/ranker.txt")
    with pytest.raises(NotReady, match=r"models/2/ranker.txt has.*version 1.*ranker.txt has"):
        open_backend(shop_root).load()


def test_a_damaged_challenger_leaves_the_champion_to_all(
    shop_root: Path, open_backend: Make
) -> None:
    register(shop_root, "1")
    pointer = {"version": "2", "folder": "var/serving/models/2"}
    (shop_root / "var/serving/challenger.json").write_text(json.dumps(pointer))
    content = halve(shop_root / "var/serving/models/2/ranker.txt")
    backend = open_backend(shop_root, experiment=Experiment(name="spring", model="challenger"))
    backend.load()
    assert (backend.models.current().version, backend.models.challenger) == ("1", None)
    assert "challenger" in backend.health.problems
    (shop_root / "var/serving/models/2/ranker.txt").write_bytes(content)
    write_manifest(shop_root / "var/serving/models/2")
    backend.models.refresh()
    assert backend.models.challenger is not None
    assert backend.health.problems == {}


def test_only_the_champion_reads_the_columns_of_facets(shop_root: Path, open_backend: Make) -> None:
    register(shop_root, "1")
    pointer = {"version": "2", "folder": "var/serving/models/2"}
    (shop_root / "var/serving/challenger.json").write_text(json.dumps(pointer))
    backend = open_backend(shop_root, experiment=Experiment(name="spring", model="challenger"))
    backend.load()
    put_items(backend.store.database, [{"item_id": "a", "title": "a lamp"}])
    for revision in (0, 1):
        champion, challenger = backend.models.current(), backend.models.challenger
        assert challenger is not None
        assert champion.revision == challenger.revision == revision
        assert champion.facets.columns_read
        assert not challenger.facets.columns_read
        backend.models.refresh()
    register(shop_root, "2", "1")
    backend.models.refresh()
    assert backend.models.current().version == "2"
    assert backend.models.current().facets.columns_read


def test_a_replaced_model_is_freed_at_once(
    shop_root: Path, open_backend: Callable[..., Backend]
) -> None:
    """By counting references alone: the garbage collector skips frozen objects."""
    backend = open_backend(shop_root)
    gc.collect()
    gc.disable()
    try:
        backend.models.refresh()
        assert backend.models.champion is not None
        backend.models.champion.pipeline.run([ask_for(3, 4)])
        backend.models.champion.search.find(
            "heart", np.ones(backend.models.champion.engine.n_items, dtype=bool)
        )
        put_items(backend.store.database, [{"item_id": "a", "title": "a lamp"}])
        backend.models.refresh()
        overlaid = weakref.ref(backend.models.champion.engine)
        trained_engine = weakref.ref(backend.models.champion.trained)
        os.utime(shop_root / "models/hybrid/manifest.json")
        backend.models.refresh()
        assert backend.models.champion.engine is not overlaid()
        assert overlaid() is None
        assert trained_engine() is None
    finally:
        gc.enable()
        gc.unfreeze()
