"""A stage that is run before those whose outputs it reads says which, and what to type."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from bowerbird import app
from flows.inputs import missing_inputs
from tests.conftest import REPOSITORY


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project's settings and DAG, without any data, as the working folder."""
    for name in ("dvc.yaml", "params.yaml", "rules.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str) -> Result:
    result = CliRunner().invoke(app, [command])
    assert result.exit_code == 1
    return result


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("validate", "data/raw, which the stage ingest makes"),
        ("preprocess", "data/valid, which the stage validate makes"),
        (
            "corpus",
            "data/prepared, data/valid/reviews.parquet, which the stages preprocess, validate make",
        ),
    ],
)
def test_the_missing_input_its_stage_and_the_command_are_named(
    project: Path, command: str, message: str
) -> None:
    assert run(command).stderr == f"error: {command} needs {message}: run `dvc repro {command}`\n"


def test_an_empty_folder_that_a_failed_stage_left_counts_as_missing(project: Path) -> None:
    (project / "data/valid").mkdir(parents=True)
    assert missing_inputs("preprocess", project) == {"data/valid": "validate"}


def test_an_error_in_inputs_that_are_there_keeps_its_own_message(project: Path) -> None:
    (project / "data/valid").mkdir(parents=True)
    for name in ("interactions", "items", "users"):
        pd.DataFrame({"wrong": [1]}).to_parquet(project / f"data/valid/{name}.parquet")
    assert missing_inputs("preprocess", project) == {}
    assert "wrong" in str(run("preprocess").exception or "")


def test_outside_of_a_project_the_missing_file_is_named(project: Path) -> None:
    (project / "dvc.yaml").unlink()
    assert "error: data/prepared/items.parquet is missing" in run("corpus").stderr


def test_a_setting_that_the_stages_read_and_params_lacks_is_named_with_its_default(
    project: Path,
) -> None:
    """DVC's own message names neither the file nor the value."""
    params = (project / "params.yaml").read_text()
    lines = [one for one in params.splitlines() if not one.startswith("  feedback:")]
    (project / "params.yaml").write_text("\n".join(lines))
    assert run("run").stderr == (
        "error: dvc.yaml reads ingest.feedback, which params.yaml lacks: add the lines "
        '`ingest.feedback: "data/feedback"` in their sections\n'
    )


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="a folder that root cannot write to either")
@pytest.mark.parametrize("command", ["models", "export-feedback"])
def test_a_folder_that_cannot_be_written_is_one_line(project: Path, command: str) -> None:
    (project / "var").symlink_to("/sys")
    said = run(command).stderr
    assert said.startswith("error: ")
    assert "var" in said
    assert len(said.splitlines()) == 1
