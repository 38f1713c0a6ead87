"""The Bento: built for real, and served from BentoML's store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.language.families import open_model, open_tokenizer, save_model
from components.language.packaged import WRITERS, converted_folder
from tests.compiled import copy_compiled
from tests.conftest import REPOSITORY

[WRITER] = WRITERS


@pytest.fixture
def environment(shop_root: Path) -> dict[str, str]:
    return {
        **os.environ,
        "BENTOML_HOME": str(shop_root / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "true",
        "BOWERBIRD_PARAMS": str(REPOSITORY / "params.yaml"),
    }


def test_the_bento_is_built_and_answers(
    serve: Callable[..., Any], shop_root: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    # A small model in the place of the converted one, which would take a minute.
    tokenizer = open_tokenizer("scratch:gpt2", ["red mug", "blue bag"] * 20)
    small, _ = open_model("scratch:gpt2", tokenizer, seed=0)
    converted_folder(WRITER, shop_root).parent.mkdir(parents=True)
    save_model(small, tokenizer, converted_folder(WRITER, shop_root))
    environment["BOWERBIRD_SERVE__WRITER"] = WRITER
    done = subprocess.run(
        [sys.executable, REPOSITORY / "bowerbird.py", "package"],
        cwd=shop_root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tag = done.stdout.splitlines()[0]
    (source,) = (shop_root / "bentoml/bentos/bowerbird-shop").glob("*/src")
    writer = converted_folder(WRITER, Path())
    files = ("params.yaml", "requirements.txt", "models/hybrid/ranker.txt", "serving/web")
    for name in (*files, writer / "model.safetensors"):
        assert (source / name).exists(), name
    assert not list(source.glob("**/*.pkl"))
    assert not list(source.glob("**/profiles.parquet"))  # an image is copied around
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in source.rglob("*"))
    materials = json.loads((source / "sbom.cdx.json").read_text())
    assert materials["bomFormat"] == "CycloneDX"
    listed = {one["name"].lower(): one for one in materials["components"]}
    assert {"torch", "bentoml", "lightgbm"} <= listed.keys()
    for package in WRITERS[WRITER].files:
        name, _, version = package.partition("==")
        assert listed[name]["version"] == version
    assert listed["torch"]["purl"] == "pkg:pypi/torch@2.13.0"
    assert listed["bentoml"]["externalReferences"][0]["hashes"], "a file cannot be checked"
    assert "torch==2.13.0" in (source / "requirements.txt").read_text().splitlines()
    elsewhere = tmp_path / "elsewhere"  # no model, no settings: all comes from the Bento
    elsewhere.mkdir()
    home = {"BENTOML_HOME": environment["BENTOML_HOME"], "BOWERBIRD_PARAMS": ""}
    home["BOWERBIRD_SERVE__WRITER"] = WRITER  # of the Bento: elsewhere there is none
    copy_compiled(source)
    server = serve(elsewhere, home, target=tag).start()
    with server.client() as client:
        answer = client.post("/recommend", json={"k": 3}).json()
        assert len(answer["items"]) == 3
        model = client.get("/model").json()
        assert (model["version"], model["users"]) == ("unregistered", 0)
    assert server.log.read_text().count("no users' histories for version unregistered") == 1
    assert (elsewhere / "var/events/events.db").exists()


def test_serve_without_a_model_says_what_to_do(tmp_path: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, REPOSITORY / "bowerbird.py", "serve"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "make run" in done.stderr
