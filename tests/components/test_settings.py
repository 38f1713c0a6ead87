"""params.yaml: what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

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


OLD_NAMES = {"ease": "linear", "cease": "collective", "tfidf": "words", "rules": "knowledge"}


def test_old_names_of_recommenders_are_read_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = yaml.safe_load(Path("params.yaml").read_text())
    train, rank = raw["train"], raw["rank"]
    train["candidates"] = [OLD_NAMES.get(name, name) for name in train["candidates"]]
    for name, old in OLD_NAMES.items():
        train[old] = train.pop(name)
    train["policy"]["base"] = "collective"
    rank["form"], rank["weighted"] = "linear", {"words": 1.0, "popularity": 0.5}
    rank["switching"][1]["model"], rank["cascade"]["models"] = "collective", ["linear", "words"]
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(raw))
    monkeypatch.setenv("BOWERBIRD_TRAIN__LINEAR__REGULARISATION", "77")
    monkeypatch.setenv("BOWERBIRD_RANK__WEIGHTED__KNOWLEDGE", "2.5")
    with pytest.warns(FutureWarning) as warned:
        found = load_settings(file)
    assert len(warned) == 1
    message = str(warned[0].message)
    assert str(file) in message
    assert all(f"{old} is now {name}" in message for name, old in OLD_NAMES.items())
    assert {"cease", "tfidf", "rules"} <= set(found.train.candidates)
    assert found.train.ease.regularisation == 77
    assert found.train.ease.decay == train["linear"]["decay"]
    assert found.train.sequential.words == train["sequential"]["words"]
    assert found.train.policy.base == "cease"
    assert found.rank.form == "ease"
    assert found.rank.weighted == {"tfidf": 1.0, "popularity": 0.5, "rules": 2.5}
    assert found.rank.switching[1].model == "cease"
    assert found.rank.cascade.models == ["ease", "tfidf"]


def test_an_old_name_in_the_environment_changes_the_current_section(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BOWERBIRD_TRAIN__COLLECTIVE__TEXT_WEIGHT", "3.5")
    with pytest.warns(FutureWarning, match="collective is now cease"):
        assert load_settings("params.yaml").train.cease.text_weight == 3.5


def test_current_names_give_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    load_settings("params.yaml")
    assert not [one for one in recwarn if one.category is FutureWarning]


def test_an_unknown_recommender_is_named_with_those_there_are(tmp_path: Path) -> None:
    file = params(tmp_path, "    - sequential\n", "    - sequentiel\n")
    expected = r"train\.candidates\.7: there is no recommender 'sequentiel'; there are: popularity,"
    with pytest.raises(SettingsError, match=expected):
        load_settings(file)


def test_an_unknown_form_is_named_with_those_there_are(tmp_path: Path) -> None:
    file = params(tmp_path, "form: ranker  ", "form: rank    ")
    with pytest.raises(SettingsError, match=r"'rank' is no form: use ranker, weighted, .*ease"):
        load_settings(file)
