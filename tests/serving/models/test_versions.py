"""Which version is the champion, by the files on disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from serving.models.versions import find_champion, previous_champion
from tests.serving.models.registered import register


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
        assert previous_champion(shop_root) is None
