"""Progress in a file or a pipe: few, short lines with what is left; on a terminal a bar."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import termios
from pathlib import Path

import pytest
import yaml

from components import progress
from components.settings import Settings
from tests.conftest import REPOSITORY
from tests.logs import assert_plain, stage_log

LEFT = re.compile(r"^[\w -]+: \d{1,2} %, \w+ \d+ of \d+, [\d:]+ left")
WORK = """
import time
from components.progress import progress
for _ in progress(range(40), desc="work", unit="piece"):
    time.sleep(0.06)
"""


class Clock:
    """Stands in for the module time."""

    def __init__(self) -> None:
        self.now = 50.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("seconds", "lines"),
    [
        (0.005, 0),  # half a second in all
        (0.02, 2),  # two seconds: at most one line a second
        (0.3, 10),  # half a minute: each tenth
        (3.0, 25),  # five minutes: each ten seconds, four pieces of three seconds
    ],
)
def test_lines_come_each_tenth_or_ten_seconds(
    clock: Clock, capsys: pytest.CaptureFixture[str], seconds: float, lines: int
) -> None:
    for _ in progress.progress(range(100), desc="iALS", unit="sweep"):
        clock.now += seconds
    found = printed(capsys)
    assert len(found) == lines
    assert all(LEFT.search(line) for line in found[:-1])
    if lines:
        assert found[-1].startswith("iALS: 100 %, sweep 100 of 100, took ")


def test_what_is_left_counts_from_where_the_work_was_taken_up(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    work = progress.progress(range(60, 100), initial=60, total=100, desc="training", unit="step")
    for step in work:
        clock.now += 10
        work.set_postfix(loss=f"{step}.5")
        if step == 69:
            break
    found = printed(capsys)
    assert found[0] == "training: 61 %, step 61 of 100, 06:30 left, loss=60.5"
    # The tenth step was not counted: the loop was left in it.
    assert found[-1] == "training: 69 %, step 69 of 100, took 01:40, loss=69.5"


def test_work_without_an_iterable_is_counted_and_closed(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    work = progress.progress(total=1000, desc="linear", unit="item")
    for _ in range(4):
        clock.now += 2
        work.update(250)
    work.close()
    work.close()
    assert printed(capsys) == [
        "linear: 25 %, item 250 of 1000, 00:06 left",
        "linear: 50 %, item 500 of 1000, 00:04 left",
        "linear: 75 %, item 750 of 1000, 00:02 left",
        "linear: 100 %, item 1000 of 1000, took 00:08",
    ]


def test_nothing_is_printed_where_progress_is_not_wanted(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in progress.progress(range(10), desc="encoding", unit="batch", disable=True):
        clock.now += 60
    assert printed(capsys) == []


def test_a_pipe_gets_lines_and_a_terminal_a_bar() -> None:
    command = [sys.executable, "-c", WORK]
    piped = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stderr
    assert_plain(piped)
    *before, last = piped.decode().splitlines()
    assert before
    assert all(LEFT.search(line) for line in before)
    assert re.fullmatch(r"work: 100 %, piece 40 of 40, took 00:\d\d", last)

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the process ended
                break
    os.close(ours)
    assert process.returncode == 0
    assert shown.count(b"\r") > 10
    assert re.search(r"100%\|█+\| 40/40", shown.decode())


def test_bars_of_libraries_are_not_written_into_a_pipe() -> None:
    code = "import bowerbird, tqdm, tqdm.auto; list(tqdm.tqdm('ab')); list(tqdm.auto.tqdm('ab'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, check=True
    )
    assert done.stderr == b""


@pytest.mark.slow
def test_the_log_of_a_training_is_short_and_says_what_is_left(
    trained: tuple[Path, Settings], tmp_path: Path
) -> None:
    source, _ = trained
    (tmp_path / "data").symlink_to(source / "data")
    shutil.copytree(source / "models/vectors", tmp_path / "models/vectors")
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["train"]["candidates"] = ["popularity", "sequential"]
    params["train"]["sequential"] |= {"epochs": 3, "dimensions": 32, "max_length": 40}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copy(REPOSITORY / "rules.yaml", tmp_path)
    left = [line for line in stage_log("train", tmp_path) if LEFT.search(line)]
    assert any(line.startswith("sequential: ") and ", loss=" in line for line in left)


@pytest.mark.slow
def test_the_log_of_the_validation_is_short(
    small_shop: tuple[Path, Settings], tmp_path: Path
) -> None:
    source, _ = small_shop
    shutil.copytree(source / "data/raw", tmp_path / "data/raw")
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    (tmp_path / "reports").mkdir()
    lines = stage_log("validate", tmp_path)
    tables = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert tables == ["items", "users", "interactions", "reviews"]
    assert len(lines) < 30  # with a line for each reason and for the empty cells
