"""params.yaml: what is refused, and in which words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field, ValidationError

from components.settings import (
    ModelSection,
    SettingsError,
    Source,
    Validate,
    load_settings,
    register_section,
    unregister_section,
)


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
        "  finetune.steps trains the whole encoder, whose vectors must be whitened: "
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


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("BOWERBIRD_SERV__PORT", "BOWERBIRD_SERVE__PORT"),  # a section
        ("BOWERBIRD_SERVE__EVENT_URL", "BOWERBIRD_SERVE__EVENTS_URL"),
        ("BOWERBIRD_SERVE__RULES__POL", "BOWERBIRD_SERVE__RULES__POOL"),
        ("BOWERBIRD_SERVE__PORT__TCP", "BOWERBIRD_SERVE__PORT"),  # a value has no keys
        ("BOWERBIRD_VALIDATE_MAX__BAD_SHARE", "BOWERBIRD_VALIDATE__MAX_BAD_SHARE"),
    ],
)
def test_a_variable_of_no_setting_is_refused_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, name: str, nearest: str
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(SettingsError, match=rf"^{name} .*did you mean {nearest}\?"):
        load_settings("params.yaml")


def test_a_variable_like_no_other_is_refused_with_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOWERBIRD_QQ__ZZ", "1")
    with pytest.raises(SettingsError, match=r"BOWERBIRD_QQ__ZZ .*; see docs/settings\.md"):
        load_settings("params.yaml")


def test_variables_without_a_section_are_not_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOWERBIRD_API_KEY", "the shop's key")
    assert load_settings("params.yaml").serve.port


def test_a_wrong_value_of_a_variable_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOWERBIRD_SERVE__RULES", "{pool: many}")
    monkeypatch.setenv("BOWERBIRD_VALIDATE__MAX_BAD_SHARE", "2")
    with pytest.raises(SettingsError) as refused:
        load_settings("params.yaml")
    message = str(refused.value)
    assert "BOWERBIRD_SERVE__RULES: serve.rules.pool: " in message
    assert "BOWERBIRD_VALIDATE__MAX_BAD_SHARE: validate.max_bad_share: " in message


def test_lists_and_sections_are_json_or_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOWERBIRD_SERVE__ALLOWED_HOSTS", '["shop.example", "*.shop.example"]')
    monkeypatch.setenv("BOWERBIRD_RANK__CASCADE", '{"models": ["ease", "tfidf"], "keep": 7}')
    monkeypatch.setenv("BOWERBIRD_RANK__WEIGHTED", "{popularity: 1}")
    monkeypatch.setenv("BOWERBIRD_RANK__WEIGHTED__EASE", "0.5")
    monkeypatch.setenv("BOWERBIRD_TRAIN__SEQUENTIAL__EPOCHS", "3")
    monkeypatch.setenv("BOWERBIRD_TRAIN__EASE__HALF_LIFE_DAYS", "1e3")
    monkeypatch.setenv("BOWERBIRD_TRAIN__MATRIX_FACTORISATION__HALF_LIFE_DAYS", "null")
    found = load_settings("params.yaml")
    assert found.serve.allowed_hosts == ["shop.example", "*.shop.example"]
    assert (found.rank.cascade.models, found.rank.cascade.keep) == (["ease", "tfidf"], 7)
    assert found.rank.weighted == {"popularity": 1.0, "ease": 0.5}
    assert found.train.sequential.epochs == 3
    assert found.train.ease.half_life_days == 1000
    assert found.train.matrix_factorisation.half_life_days is None


def test_a_section_does_not_hide_its_keys_whatever_the_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BOWERBIRD_SERVE__RULES__POOL", "9")
    monkeypatch.setenv("BOWERBIRD_SERVE__RULES", "{pool: 8}")
    assert load_settings("params.yaml").serve.rules.pool == 9


@pytest.mark.parametrize("text", ["NO", "2001-01-01", "4711", "null", "%Y", "'quoted'", ""])
def test_a_text_is_a_text_whatever_it_looks_like(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("BOWERBIRD_REGISTER__MODEL_NAME", text)
    monkeypatch.setenv("BOWERBIRD_VALIDATE__CANCELLED_ORDERS", text)
    if text:
        assert load_settings("params.yaml").register_.model_name == text.strip("'")
    monkeypatch.delenv("BOWERBIRD_REGISTER__MODEL_NAME")
    assert load_settings("params.yaml").validate_.cancelled_orders == text.strip("'")


def test_a_registered_recommender_has_variables_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Toy(ModelSection):
        weights: list[float] = Field(default=[])

    monkeypatch.setenv("BOWERBIRD_TRAIN__TOY__WEIGHTS", "[1, 2.5]")
    register_section("toy", Toy)
    try:
        assert load_settings("params.yaml").train.section("toy").weights == [1.0, 2.5]
    finally:
        unregister_section("toy")
    with pytest.raises(SettingsError, match="BOWERBIRD_TRAIN__TOY__WEIGHTS"):
        load_settings("params.yaml")


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("non_product_codes", ["POST", "("], "non_product_codes.1: '(' is no regular expression"),
        ("non_product_codes", ["A(?!B)"], "'A(?!B)' is no regular expression of RE2"),
        ("cancelled_orders", "(", "cancelled_orders: '(' is no regular expression"),
        ("cancelled_orders", r"(?!A)C(\d+)", "cancelled_orders: '(?!A)C"),
        ("min_timestamp", "soon", "min_timestamp: 'soon' is no date or time of ISO 8601"),
    ],
)
def test_patterns_and_times_of_validate_are_checked(
    tmp_path: Path, setting: str, value: object, words: str
) -> None:
    section = yaml.safe_load(Path("params.yaml").read_text())
    section["validate"][setting] = value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(section))
    with pytest.raises(SettingsError, match=re.escape(words)):
        load_settings(tmp_path / "params.yaml")


@pytest.mark.parametrize("text", ["2000-01-01", "2017-11-24T16:00:00", "2020-01-01T00:00:00+02:00"])
def test_times_of_iso_8601_are_accepted(text: str) -> None:
    assert Validate(min_timestamp=text, cancelled_orders=r"C(\d+)").min_timestamp == text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"path": "in", "later_files": "replace"}, "columns.order_id"),
        ({"path": "in", "columns": {"updated_at": "v"}}, "columns.updated_at compares orders"),
        (
            {"path": "in", "query": "SELECT 1", "later_files": "replace"},
            "the rows of a query or a database have none",
        ),
        ({"database": "SHOP", "table": "t", "later_files": "replace"}, "columns.version"),
    ],
)
def test_versions_need_orders_to_compare(settings: dict[str, Any], words: str) -> None:
    columns = {"user_id": "u", "item_id": "i", "timestamp": "t", **settings.get("columns", {})}
    with pytest.raises(ValidationError, match=re.escape(words)):
        Source.model_validate({**settings, "columns": columns})


def test_words_that_differ_in_capitals_mean_the_same() -> None:
    columns = {"user_id": "u", "item_id": "i", "timestamp": "t"}
    with pytest.raises(ValidationError, match=r"'Buy' and 'buy ' are one word.*keep one"):
        Source(path=Path("in"), columns=columns, events={"Buy": "purchase", "buy ": "cart"})
    same = {"kr": "SEK", "KR": "SEK"}
    assert Source(path=Path("in"), columns=columns, currencies=same).currencies == same


@pytest.mark.parametrize(
    ("lines", "rule"),
    [("min_gain: 0.0", "non_inferior"), ("rule: superior\n  min_gain: 0.002", "superior")],
)
def test_a_gain_is_read_as_before(tmp_path: Path, lines: str, rule: str) -> None:
    file = params(tmp_path, "min_users: 100", f"{lines}\n  min_users: 100")
    assert load_settings(file).register_.rule == rule


def test_a_gain_without_its_rule_is_refused_with_the_remedy(tmp_path: Path) -> None:
    file = params(tmp_path, "min_users: 100", "min_gain: 0.002\n  min_users: 100")
    with pytest.raises(SettingsError, match=r"register.* min_gain is 0\.002.* add rule: superior"):
        load_settings(file)


@pytest.mark.parametrize("in_file", [True, False])
def test_the_engine_of_preprocess_is_refused_with_its_new_name(
    in_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path("params.yaml")
    if in_file:
        file = params(tmp_path, "preprocess:\n", "preprocess:\n  engine: spark\n")
    else:
        monkeypatch.setenv("BOWERBIRD_PREPROCESS__ENGINE", "spark")
    with pytest.raises(SettingsError, match=r"preprocess\.engine is now tables\.engine"):
        load_settings(file)
    monkeypatch.delenv("BOWERBIRD_PREPROCESS__ENGINE", raising=False)
    monkeypatch.setenv("BOWERBIRD_TABLES__ENGINE", "spark")
    assert load_settings("params.yaml").tables.engine == "spark"
