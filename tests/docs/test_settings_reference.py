"""The settings' descriptions: every field has one, and page and params.yaml are made of them."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
import yaml

from components.settings import ModelSection, Section
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """docs/settings_reference.py."""
    place = REPOSITORY / "docs/settings_reference.py"
    spec = importlib.util.spec_from_file_location("settings_reference", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sections() -> list[type[Section]]:
    """Return the classes of components/settings.py with fields."""
    own = [*Section.__subclasses__(), *ModelSection.__subclasses__()]
    every = {one for section in own for one in (section, *section.__subclasses__())}
    return [one for one in every if one.__module__ == "components.settings" and one.model_fields]


def test_every_setting_is_described_in_sentences() -> None:
    wrong = [
        f"{section.__name__}.{name}: {field.description!r}"
        for section in sections()
        for name, field in section.model_fields.items()
        if not (field.description or "").strip().endswith(".")
    ]
    assert len(sections()) > 30
    assert not wrong


def test_the_page_is_the_descriptions(reference: ModuleType) -> None:
    assert reference.PAGE.read_text() == reference.settings_page(), "run: make settings"


def test_the_comments_of_params_yaml_are_the_descriptions(reference: ModuleType) -> None:
    text = reference.PARAMS.read_text()
    assert text == reference.with_comments(text), "run: make settings"


def test_every_section_and_setting_is_on_the_page(reference: ModuleType) -> None:
    page = reference.settings_page()
    assert "### serve.experiment\n" in page
    assert "### serve.experiment.rules\n" in page
    assert "### serve.rules.boosts[]\n" in page
    for section in sections():
        for field in section.model_fields.values():
            assert " ".join((field.description or "").split()).replace("|", "\\|") in page


def test_a_wrong_comment_is_replaced_and_values_and_own_comments_stay(
    reference: ModuleType,
) -> None:
    text = reference.PARAMS.read_text()
    line = next(one for one in text.splitlines() if one.startswith("  keep_alive: 15"))
    changed = text.replace(line, "  # ours\n  keep_alive: 15  # hours")
    found = reference.with_comments(changed)
    assert found == text.replace(line, f"  # ours\n{line}")
    assert yaml.safe_load(found) == yaml.safe_load(text)
