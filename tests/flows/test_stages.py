"""The tasks are DVC's stages, in an order in which each finds its inputs."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from components.progress import PlainProgress
from flows.stages import PERCENT, always_run, pieces, stages
from tests.conftest import REPOSITORY


def init(folder: Path, stages: str) -> None:
    """Make a DVC repository with these stages."""
    Repo.init(str(folder), no_scm=True).close()
    (folder / "dvc.yaml").write_text(stages)


def write_params(folder: Path, **train: object) -> None:
    """Write the repository's params.yaml with other values in ``train``."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["train"] |= train
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def test_every_stage_comes_after_those_it_reads_from() -> None:
    order = list(stages(REPOSITORY))
    defined = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    assert set(order) == defined.keys() - {"fine_tune"}
    chain = ["sources", "ingest", "validate", "preprocess", "corpus", "pretrain"]
    chain += ["finetune", "encode", "fit", "rank", "reference", "register"]
    assert [stage for stage in order if stage in chain] == chain
    assert order.index("rank") < order.index("evaluate") < order.index("register")
    assert order.index("fit") < order.index("refit") < order.index("register")


def test_every_candidate_of_the_settings_is_a_stage_for_each_window(tmp_path: Path) -> None:
    init(tmp_path, (REPOSITORY / "dvc.yaml").read_text())
    write_params(tmp_path, candidates=["cease", "tfidf"], fine_tuned=["policy"])
    with Repo(str(tmp_path)) as repo:
        names = {stage.name for stage in repo.index.stages}
    windows = ("validation", "test", "all")
    assert {name for name in names if name.startswith(("fit", "fine_tune"))} == {
        *(f"fit@{window}-{name}" for window in windows for name in ("cease", "tfidf")),
        *(f"fine_tune@{window}-policy" for window in windows),
    }


def test_a_policy_is_fitted_after_its_base(tmp_path: Path) -> None:
    init(tmp_path, (REPOSITORY / "dvc.yaml").read_text())
    write_params(tmp_path, fine_tuned=["policy"])
    order = list(stages(tmp_path))
    assert order.index("fit") < order.index("fine_tune") < order.index("rank")


def test_a_dependency_within_an_output_counts(tmp_path: Path) -> None:
    init(
        tmp_path,
        "stages:\n"
        "  last: {cmd: x, deps: [out/part.csv, made], outs: [end]}\n"
        "  first: {cmd: x, outs: [out]}\n"
        "  middle: {cmd: x, deps: [out], metrics: [{made/m.json: {cache: false}}]}\n",
    )
    assert list(stages(tmp_path)) == ["first", "middle", "last"]


def test_a_stage_is_stale_if_it_or_one_that_it_depends_on_changed(tmp_path: Path) -> None:
    init(
        tmp_path,
        "stages:\n"
        "  one: {cmd: cp a b, deps: [a], outs: [b]}\n"
        "  two:\n"
        "    matrix: {n: [1, 2]}\n"
        "    cmd: cp b c${item.n}\n"
        "    deps: [b, 'x${item.n}']\n"
        "    outs: ['c${item.n}']\n"
        "  three: {cmd: cp c1 d, deps: [c1], outs: [d]}\n"
        "  other: {cmd: cp c2 e, deps: [c2], outs: [e]}\n",
    )
    for name in ("a", "x1", "x2"):
        (tmp_path / name).write_text(name)
    assert all(stages(tmp_path).values())
    with Repo(str(tmp_path)) as repo, contextlib.chdir(tmp_path):
        repo.reproduce()
    assert not any(stages(tmp_path).values())
    (tmp_path / "x1").write_text("changed")
    assert stages(tmp_path) == {"one": False, "two": True, "three": True, "other": False}
    (tmp_path / "a").write_text("changed")
    assert all(stages(tmp_path).values())


def test_a_stage_that_runs_each_time_makes_no_other_stale(tmp_path: Path) -> None:
    init(
        tmp_path,
        "stages:\n"
        "  list: {cmd: cat a > b, always_changed: true, outs: [{b: {cache: false}}]}\n"
        "  read: {cmd: cp b c, deps: [b], outs: [c]}\n",
    )
    (tmp_path / "a").write_text("a")
    with Repo(str(tmp_path)) as repo, contextlib.chdir(tmp_path):
        repo.reproduce()
    assert always_run(tmp_path) == ["list"]
    assert stages(tmp_path) == {"list": False, "read": False}
    (tmp_path / "a").write_text("changed")
    with Repo(str(tmp_path)) as repo, contextlib.chdir(tmp_path):
        repo.reproduce("list")
    assert stages(tmp_path) == {"list": False, "read": True}


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
