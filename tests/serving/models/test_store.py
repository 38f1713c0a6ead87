"""Which model a worker serves: never a damaged one, the last good one as long as there is one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.alerts import ALERTS, read_alerts
from components.manifest import write_manifest
from components.settings import Settings
from serving.api.auth import Auth, Keys
from serving.events.catalogue_table import put_items
from serving.models import store as shop_module
from serving.models.store import NotReady, Shop, find_champion

AUTH = Auth(Keys(), b"secret")

Make = Callable[[Path], Shop]


def register(root: Path, champion: str | None, previous: str | None = None) -> None:
    """Write versions 1 and 2 and the pointer as the registry does."""
    for version in ("1", "2"):
        folder = root / "var/serving/models" / version
        if not folder.exists():
            shutil.copytree(root / "models/hybrid", folder)
    aliases = {champion: ["champion"], previous: ["previous"]}
    listed = [{"version": v, "aliases": aliases.get(v, [])} for v in ("2", "1")]
    (root / "var/serving/versions.json").write_text(json.dumps(listed))
    if champion is not None:
        pointer = {"version": champion, "folder": f"var/serving/models/{champion}"}
        (root / "var/serving/champion.json").write_text(json.dumps(pointer))


def halve(file: Path) -> bytes:
    """Truncate a file at its half; return what it held."""
    content = file.read_bytes()
    os.truncate(file, len(content) // 2)
    return content


@pytest.fixture
def make(trained: tuple[Path, Settings]) -> Iterator[Make]:
    """Make shops that rank in a thread; all are closed after the test."""
    shops = []

    def shop(root: Path) -> Shop:
        serve = trained[1].serve.model_copy(update={"ranking": "thread"})
        shops.append(Shop(trained[1].model_copy(update={"serve": serve}), root, AUTH, alone=True))
        return shops[-1]

    yield shop
    for one in shops:
        one.close()


def test_a_damaged_champion_never_replaces_a_good_model(shop_root: Path, make: Make) -> None:
    register(shop_root, "1")
    shop = make(shop_root)
    shop.load()
    assert shop.current().version == "1"
    ranker = shop_root / "var/serving/models/2/ranker.txt"
    content = halve(ranker)
    register(shop_root, "2", "1")
    for _ in range(3):
        shop.look()
    assert shop.current().version == "1"
    assert shop.problems == {"model": "version 2 cannot be loaded, serving version 1: see the log"}
    (alert,) = read_alerts(shop_root / ALERTS)
    assert alert["kind"] == "model"
    assert "ranker.txt has" in alert["reasons"][0]
    ranker.write_bytes(content)  # as brought back by the registry
    write_manifest(ranker.parent)
    shop.look()
    assert (shop.current().version, shop.problems, shop.load_error) == ("2", {}, None)


def test_restarted_with_a_damaged_champion_it_serves_the_one_before(
    shop_root: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(shop_root, "2", "1")
    content = halve(shop_root / "var/serving/models/2/ranker.txt")
    shop, second = make(shop_root), make(shop_root)
    shop.load()
    second.load()  # as another worker: the alert is raised once
    assert shop.current().version == "1"
    assert "serving version 1" in shop.problems["model"]
    assert len(read_alerts(shop_root / ALERTS)) == 1
    (shop_root / "var/serving/models/2/ranker.txt").write_bytes(content)  # from a backup
    shop.look()
    assert shop.current().version == "1"  # not read again each second
    monkeypatch.setattr(shop_module.time, "monotonic", lambda: 1e9)
    shop.look()
    assert (shop.current().version, shop.problems) == ("2", {})


def test_an_alert_that_cannot_be_written_keeps_no_model_from_serving(
    shop_root: Path, make: Make
) -> None:
    register(shop_root, "2", "1")
    halve(shop_root / "var/serving/models/2/ranker.txt")
    (shop_root / ALERTS).mkdir(parents=True)  # as on a full disk, writing fails with an OSError
    shop = make(shop_root)
    shop.load()
    assert shop.current().version == "1"
    assert "serving version 1" in shop.problems["model"]


def test_without_any_good_model_the_error_says_what_is_wrong(shop_root: Path, make: Make) -> None:
    register(shop_root, "2", "1")
    for version in ("1", "2"):
        halve(shop_root / f"var/serving/models/{version}/ranker.txt")
    with pytest.raises(NotReady, match=r"models/2/ranker.txt has.*version 1.*ranker.txt has"):
        make(shop_root).load()


def test_a_lost_pointer_serves_nothing_that_was_not_judged(shop_root: Path) -> None:
    assert find_champion(shop_root).version == "unregistered"
    register(shop_root, "2", "1")
    assert find_champion(shop_root).version == "2"
    (shop_root / "var/serving/champion.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"\(1, 2\).*bowerbird promote"):
        find_champion(shop_root)
    (shop_root / "var/serving/versions.json").unlink()
    with pytest.raises(FileNotFoundError, match="bowerbird rollback"):
        find_champion(shop_root)
    shutil.rmtree(shop_root / "var/serving/models")
    assert find_champion(shop_root).version == "unregistered"


@pytest.mark.parametrize("folder", ["../outside", "/etc", "var/../../x"])
def test_the_pointer_names_a_folder_of_the_root(shop_root: Path, folder: str) -> None:
    register(shop_root, "1")
    pointer = json.dumps({"version": "1", "folder": folder})
    (shop_root / "var/serving/champion.json").write_text(pointer)
    with pytest.raises(ValueError, match="not a folder below"):
        find_champion(shop_root)


def test_files_among_the_models_and_unreadable_lists_are_no_error(shop_root: Path) -> None:
    register(shop_root, "1")
    (shop_root / "var/serving/models/notes.txt").write_text("")
    for content in ("", "[1, {}]", "{", "\xff"):
        (shop_root / "var/serving/versions.json").write_bytes(content.encode("latin-1"))
        assert find_champion(shop_root).version == "1"
        assert shop_module.previous_champion(shop_root) is None


def test_a_damaged_part_is_left_out_and_said(
    shop_root: Path, make: Make, monkeypatch: pytest.MonkeyPatch
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
    shop = make(shop_root)
    shop.load()
    assert shop.problems.keys() == {"encoder", "reference", "model_card.md", "profiles"}
    assert len(shop.current().profiles.base) == 0
    assert shop.current().search.encoder is None

    def fails(*_: Any) -> None:
        raise ValueError("a row that cannot be read")

    with monkeypatch.context() as patch:
        patch.setattr(shop_module, "overlaid_engine", fails)
        put_items(shop.store.database, [{"item_id": "new", "title": "a new lamp"}])
        restarted = make(shop_root)
        for one in (shop, restarted):
            one.look()
            assert "PUT /items" in one.problems["products"]
            assert one.current().engine.n_items == shop.current().trained.n_items
    put_items(shop.store.database, [{"item_id": "newer", "title": "a newer lamp"}])
    shop.look()
    assert "products" not in shop.problems
    assert shop.current().profiles.code("new") >= 0


def test_a_damaged_challenger_leaves_the_champion_to_all(shop_root: Path, make: Make) -> None:
    register(shop_root, "1")
    pointer = {"version": "2", "folder": "var/serving/models/2"}
    (shop_root / "var/serving/challenger.json").write_text(json.dumps(pointer))
    content = halve(shop_root / "var/serving/models/2/ranker.txt")
    shop = make(shop_root)
    experiment = shop.settings.serve.experiment.model_copy(
        update={"name": "spring", "model": "challenger"}
    )
    serve = shop.settings.serve.model_copy(update={"experiment": experiment})
    shop.settings = shop.settings.model_copy(update={"serve": serve})
    shop.load()
    assert (shop.current().version, shop.challenger) == ("1", None)
    assert "challenger" in shop.problems
    (shop_root / "var/serving/models/2/ranker.txt").write_bytes(content)
    write_manifest(shop_root / "var/serving/models/2")
    shop.look()
    assert shop.challenger is not None
    assert shop.problems == {}
