"""The tasks are DVC's stages, in an order in which each finds its inputs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from components.progress import PlainProgress
from components.settings import load_settings
from flows.stages import PERCENT, pieces, stages
from tests.conftest import REPOSITORY


def init(folder: Path, stages: str) -> None:
    """Make a DVC repository with these stages."""
    Repo.init(str(folder), no_scm=True).close()
    (folder / "dvc.yaml").write_text(stages)


def test_every_stage_comes_after_those_it_reads_from() -> None:
    order = stages(REPOSITORY)
    defined = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    assert {stage.partition("@")[0] for stage in order} == defined.keys() - {"fine_tune"}
    chain = ["ingest", "validate", "preprocess", "corpus", "pretrain", "finetune", "encode"]
    chain += ["fit@test-cease", "rank", "reference", "register"]
    assert [stage for stage in order if stage in chain] == chain
    assert order.index("rank") < order.index("evaluate") < order.index("register")
    assert order.index("fit@all-cease") < order.index("refit") < order.index("register")


def test_every_candidate_of_the_settings_is_a_stage_for_each_window() -> None:
    names = load_settings(REPOSITORY / "params.yaml").train.names
    fits = {stage for stage in stages(REPOSITORY) if stage.startswith(("fit@", "fine_tune@"))}
    windows = ("validation", "test", "all")
    assert fits == {f"fit@{window}-{name}" for window in windows for name in names}


def test_a_policy_is_fitted_after_its_base(tmp_path: Path) -> None:
    init(tmp_path, (REPOSITORY / "dvc.yaml").read_text())
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["train"]["fine_tuned"] = ["policy"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    order = stages(tmp_path)
    base = order.index("fit@test-cease")
    assert base < order.index("fine_tune@test-policy") < order.index("rank")


def test_a_dependency_within_an_output_counts(tmp_path: Path) -> None:
    init(
        tmp_path,
        "stages:\n"
        "  last: {cmd: x, deps: [out/part.csv, made], outs: [end]}\n"
        "  first: {cmd: x, outs: [out]}\n"
        "  middle: {cmd: x, deps: [out], metrics: [{made/m.json: {cache: false}}]}\n",
    )
    assert stages(tmp_path) == ["first", "middle", "last"]


def test_outside_the_project_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="project's folder"):
        stages(tmp_path)


def test_progress_and_other_lines_are_told_apart() -> None:
    lines = PlainProgress("pre-training", "step", total=120)
    lines.done = 50
    bar = lines.line(elapsed=20)
    stream = io.BytesIO(f"42 % of it, first line\n{bar}\rlast, without an end".encode())
    found = list(pieces(io.BufferedReader(stream)))  # type: ignore[arg-type]
    assert found == ["42 % of it, first line", bar, "last, without an end"]
    assert [bool(PERCENT.search(piece)) for piece in found] == [False, True, False]
    assert PERCENT.search(bar).group(1) == "41"
