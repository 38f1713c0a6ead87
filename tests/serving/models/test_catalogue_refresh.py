"""Products of ``PUT /items`` in a loaded model, and none that break it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.backend import Backend
from serving.events.catalogue_table import put_items
from serving.models import catalogue_refresh


def test_products_that_cannot_be_taken_in_leave_the_model_as_it_was(
    shop_root: Path, open_backend: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_backend(shop_root)
    backend.load()

    def fails(*_: Any) -> None:
        raise ValueError("a row that cannot be read")

    with monkeypatch.context() as patch:
        patch.setattr(catalogue_refresh, "overlaid_engine", fails)
        put_items(backend.store.database, [{"item_id": "new", "title": "a new lamp"}])
        restarted = open_backend(shop_root)
        for one in (backend, restarted):
            one.models.refresh()
            assert "PUT /items" in one.health.problems["products"]
            assert one.models.current().engine.n_items == backend.models.current().trained.n_items
    put_items(backend.store.database, [{"item_id": "newer", "title": "a newer lamp"}])
    backend.models.refresh()
    assert "products" not in backend.health.problems
    assert backend.models.current().profiles.code("new") >= 0
