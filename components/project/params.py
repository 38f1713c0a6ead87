"""params.yaml of a new shop: the product's own file with other sources, and its comments.

In: the entries of ``ingest``. Out: the text of params.yaml. Every other setting has the value that
is used for the embedded shop.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from components.project.comments import with_comments

TEMPLATE = Path(__file__).with_name("template")
_HEAD = """\
# All settings of this shop. DVC tracks this file. `bowerbird check` reads the beginnings of the
# files below `ingest` and says what is in them. Bowerbird's docs/settings.md explains all settings.

"""
_OF_THE_EMBEDDED_SHOP = ("non_product_codes", "cancelled_orders", "max_bad_share", "returns")
"""Settings of `validate` that a new shop leaves at their defaults."""


def params_text(ingest: dict[str, Any], changes: dict[str, dict[str, Any]] | None = None) -> str:
    """Return params.yaml with these sources.

    ingest: the section. changes: values of other sections by section and key.
    """
    form = _yaml()
    content: CommentedMap = form.load(TEMPLATE / "params.yaml")
    template = content["ingest"]
    section = CommentedMap()
    for key in ("currency", "timezone"):
        section[key] = ingest.get(key, template[key])
    for key in ("interactions", "items", "users", "reviews"):
        section[key] = [_entry(one) for one in ingest.get(key, [])]
    for key, value in ingest.items():
        section.setdefault(key, value)
    section["hash_limit_mb"] = template["hash_limit_mb"]
    section["feedback"] = template["feedback"]
    content["ingest"] = section
    for key in _OF_THE_EMBEDDED_SHOP:
        content["validate"].pop(key, None)
    for name, values in (changes or {}).items():
        content[name].update(values)
    out = io.StringIO()
    form.dump(content, out)
    lines = out.getvalue().splitlines()
    first = next(n for n, line in enumerate(lines) if line.strip() and not line.startswith("#"))
    return _HEAD + with_comments(_spaced("\n".join(lines[first:])))


def of_train(repeat_purchases: bool, without: Collection[str]) -> dict[str, Any]:
    """Return what of ``train`` differs from the usual.

    repeat_purchases: whether customers buy the same products again. without: candidates that are
    left out.
    """
    usual = _yaml().load(TEMPLATE / "params.yaml")["train"]["candidates"]
    wanted = [*usual, "repeat"] if repeat_purchases else usual
    found: dict[str, Any] = {"exclude_seen": False} if repeat_purchases else {}
    return found | {"candidates": [name for name in wanted if name not in without]}


def _yaml() -> YAML:
    form = YAML()
    form.width = 4096
    form.indent(mapping=2, sequence=4, offset=2)
    return form


def _entry(source: dict[str, Any]) -> CommentedMap:
    """Return a source in the order of a reader: path, how it is written, columns."""
    found = CommentedMap()
    for key, value in source.items():
        found[key] = _plain(key, value)
    if "columns" in found:
        found["columns"] = found.pop("columns")
    return found


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return CommentedMap({_quoted(name): _plain(name, one) for name, one in value.items()})
    if isinstance(value, list):
        return [_quoted(one) for one in value]
    if isinstance(value, str) and "\n" in value and key == "query":
        return LiteralScalarString(value.rstrip("\n") + "\n")
    return _quoted(value)


def _quoted(word: Any) -> Any:
    """Return a text in quotation marks where YAML 1.1 takes it for another type: Yes, 1, null.

    The settings are read as YAML 1.1, and written as 1.2, in which ``Yes`` is a text.
    """
    if not isinstance(word, str):
        return word
    try:
        same = yaml.safe_load(word) == word
    except yaml.YAMLError:  # a sign, which is quoted when it is written
        return word
    return word if same else DoubleQuotedScalarString(word)


def _spaced(text: str) -> str:
    """Return the text with an empty line before each section."""
    lines: list[str] = []
    for line in text.splitlines():
        if line and not line.startswith((" ", "#")) and line.endswith(":") and lines and lines[-1]:
            lines.append("")
        lines.append(line)
    return "\n".join(lines) + "\n"
