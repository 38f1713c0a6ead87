"""The stage ``register`` as a whole."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.components.registry.registration import register
from tests.conftest import REPOSITORY
from tests.logs import stage_log


@pytest.mark.slow
def test_the_log_of_a_registration_is_short(shop) -> None:
    root, _ = shop
    shutil.copy(REPOSITORY / "params.yaml", root)
    assert "version 1: champion" in stage_log("register", root)


def test_a_registration_killed_before_its_end_is_finished_by_the_next(shop) -> None:
    root, _ = shop
    register(shop)
    # As if killed after MLflow had the version and before its folder and the pointer were there.
    shutil.rmtree(root / "var/serving")
    (root / "reports/registration.json").unlink()
    again = register(shop)
    assert (again["version"], again["alias"]) == ("1", "champion")
    assert (root / "var/serving/models/1/model.json").exists()
    assert json.loads((root / "var/serving/champion.json").read_text())["version"] == "1"
