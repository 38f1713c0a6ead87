"""The tasks are DVC's stages, in an order in which each finds its inputs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml

from components.progress import PlainProgress
from flows.stages import PERCENT, pieces, stages
from tests.conftest import REPOSITORY


def test_every_stage_comes_after_those_it_reads_from() -> None:
    order = stages(REPOSITORY / "dvc.yaml")
    assert sorted(order) == sorted(yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"])
    chain = ["ingest", "validate", "preprocess", "corpus", "pretrain", "finetune", "encode"]
    chain += ["train", "rank", "reference", "register"]
    assert [stage for stage in order if stage in chain] == chain
    assert order.index("rank") < order.index("evaluate") < order.index("register")


def test_a_dependency_within_an_output_counts(tmp_path: Path) -> None:
    file = tmp_path / "dvc.yaml"
    file.write_text(
        "stages:\n"
        "  last: {cmd: x, deps: [out/part.csv, made], outs: [end]}\n"
        "  first: {cmd: x, outs: [out]}\n"
        "  middle: {cmd: x, deps: [out], metrics: [{made/m.json: {cache: false}}]}\n"
    )
    assert stages(file) == ["first", "middle", "last"]


def test_outside_the_project_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="project's folder"):
        stages(tmp_path / "dvc.yaml")


def test_progress_and_other_lines_are_told_apart() -> None:
    lines = PlainProgress("pre-training", "step", total=120)
    lines.done = 50
    bar = lines.line(elapsed=20)
    stream = io.BytesIO(f"42 % of it, first line\n{bar}\rlast, without an end".encode())
    found = list(pieces(io.BufferedReader(stream)))  # type: ignore[arg-type]
    assert found == ["42 % of it, first line", bar, "last, without an end"]
    assert [bool(PERCENT.search(piece)) for piece in found] == [False, True, False]
    assert PERCENT.search(bar).group(1) == "41"
