"""Loading a model folder: optional parts that are damaged are left out and reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from components.manifest import write_manifest
from serving.backend import Backend
from tests.serving.models.registered import halve


def test_a_damaged_part_is_left_out_and_reported(
    shop_root: Path, open_backend: Callable[..., Backend]
) -> None:
    folder = shop_root / "models/hybrid"
    for part in ("encoder", "reference"):
        (folder / part).mkdir()
        (folder / part / "weights").write_bytes(bytes(100))
    (folder / "model_card.md").write_text("a card")
    write_manifest(folder)
    for file in ("encoder/weights", "reference/weights", "model_card.md"):
        halve(folder / file)
    histories = shop_root / "models/profiles/profiles.parquet"
    histories.parent.mkdir(exist_ok=True)
    histories.write_bytes(b"PAR1 and no more")
    backend = open_backend(shop_root)
    backend.load()
    assert backend.health.problems.keys() == {"encoder", "reference", "model_card.md", "profiles"}
    assert len(backend.models.current().profiles.base) == 0
    assert backend.models.current().search.encoder is None
