"""The timeline survives a kill and several writers, stays small, and is read as it was written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components import timeline
from components.timeline import FILE, OLDER, newest, read_timeline, record


def test_entries_are_read_newest_first_with_their_evidence(tmp_path: Path) -> None:
    assert read_timeline(tmp_path) == []
    assert record(tmp_path, "promotion", "version 2 was promoted", "operator", {"version": "2"})
    assert record(tmp_path, "rollback", "version 2 was rolled back", "endpoint")
    second, first = newest(tmp_path, 5)
    assert (first.kind, first.by, first.evidence) == ("promotion", "operator", {"version": "2"})
    assert second.text == "version 2 was rolled back"
    assert newest(tmp_path, 1) == [second]
    assert newest(tmp_path, 5, before=second.id) == [first]
    assert newest(tmp_path, 5, before="gone") == []
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_what_json_does_not_have_is_written_as_text_or_null(tmp_path: Path) -> None:
    facts = {"nan": float("nan"), "path": Path("a"), "rows": (1, 2), 3: {"x": float("inf")}}
    record(tmp_path, "validation", "x", "training", facts)
    (entry,) = read_timeline(tmp_path)
    assert entry.evidence == {"nan": None, "path": "a", "rows": [1, 2], "3": {"x": None}}


def test_a_line_that_a_kill_left_incomplete_hides_no_other(tmp_path: Path) -> None:
    record(tmp_path, "promotion", "one", "operator")
    with (tmp_path / FILE).open("a") as stream:
        stream.write('{"id": "torn", "at": "20')
    record(tmp_path, "promotion", "two", "operator")
    assert [one.text for one in read_timeline(tmp_path)] == ["one", "two"]


def test_lines_that_are_no_entries_are_left_out(tmp_path: Path) -> None:
    record(tmp_path, "promotion", "one", "operator")
    entry = json.loads((tmp_path / FILE).read_text())
    for odd in ({**entry, "kind": "other"}, {**entry, "evidence": []}, {"id": "x"}, [1]):
        with (tmp_path / FILE).open("a") as stream:
            stream.write(json.dumps(odd) + "\n")
    assert len(read_timeline(tmp_path)) == 1


def test_the_two_files_stay_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MAX_BYTES", 2000)
    for number in range(50):
        record(tmp_path, "promotion", f"version {number}", "operator")
    assert (tmp_path / FILE).stat().st_size <= 2000
    assert (tmp_path / OLDER).stat().st_size <= 2000
    texts = [one.text for one in read_timeline(tmp_path)]
    assert texts == [f"version {number}" for number in range(50 - len(texts), 50)]
    assert len(texts) > 10


def test_evidence_that_is_too_large_is_left_out(tmp_path: Path) -> None:
    record(tmp_path, "validation", "many reasons", "training", {"x": "y" * 100_000})
    (entry,) = read_timeline(tmp_path)
    assert (entry.text, list(entry.evidence)) == ("many reasons", ["left_out"])


WRITER = """
from pathlib import Path
import sys
from components import timeline
timeline.MAX_BYTES = 40_000
for number in range(100):
    assert timeline.record(Path(sys.argv[1]), "promotion", f"{sys.argv[2]} {number}", "operator")
"""


def test_several_processes_lose_no_entry(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name]) for name in "abc"
    ]
    assert [process.wait(60) for process in writers] == [0, 0, 0]
    entries = read_timeline(tmp_path)
    assert len({one.id for one in entries}) == len(entries)
    assert (tmp_path / OLDER).exists()  # the file was replaced while they wrote
    for name in "abc":
        numbers = [int(one.text[2:]) for one in entries if one.text.startswith(f"{name} ")]
        assert numbers == list(range(100))


def test_a_disk_error_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).mkdir(parents=True)
    assert not record(tmp_path, "promotion", "version 2 was promoted", "operator")
    assert "the timeline was not written" in caplog.text
