"""params.yaml: what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.settings import SettingsError, load_settings


def params(tmp_path: Path, before: str, after: str) -> Path:
    """Return a params.yaml that differs from the repository's in one place."""
    text = Path("params.yaml").read_text()
    assert text.count(before) == 1
    file = tmp_path / "params.yaml"
    file.write_text(text.replace(before, after))
    return file


def test_the_repositorys_own_are_accepted() -> None:
    assert load_settings("params.yaml").train.candidates


def test_a_wrong_value_is_named_with_what_was_found(tmp_path: Path) -> None:
    file = params(tmp_path, "unsold_weight: 3.0", "unsold_weight: -1")
    with pytest.raises(SettingsError, match=r"rank\.unsold_weight: .*greater than 0 \(found -1\)"):
        load_settings(file)


def test_keys_that_do_not_go_together_are_named_and_nothing_else(tmp_path: Path) -> None:
    file = params(tmp_path, "\n  steps: 0 ", "\n  steps: 40 ")
    with pytest.raises(SettingsError) as refused:
        load_settings(file)
    assert str(refused.value).splitlines()[1:] == [
        "  finetune.steps trains the whole encoder, whose vectors are of use whitened only: "
        "set train.content.whiten to true, or finetune.steps to 0"
    ]
