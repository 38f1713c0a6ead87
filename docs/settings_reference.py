"""Write docs/settings.md and the comments of params.yaml: python docs/settings_reference.py

Both are made from the descriptions of the fields in ``components/settings.py``, so that they
cannot disagree; ``tests/docs/test_settings_reference.py`` compares them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from components.project.comments import Schema, settings_schema, with_comments

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs/settings.md"
PARAMS = REPOSITORY / "params.yaml"

HEAD = """\
# Settings

Every setting of `params.yaml`, with the default that holds where the file does not name it. This
page is written from `components/settings.py` by `make settings`.

An unknown key or a value out of range stops every command with the key and what was expected.
`BOWERBIRD_<SECTION>__<KEY>` in the environment overrides a setting for services
([settings from the environment](operations.md#settings-from-the-environment)).
"""
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


class Page:
    """The reference page of one model's JSON schema."""

    def __init__(self, schema: Schema) -> None:
        self._definitions = schema.get("$defs", {})
        self._root = schema

    def text(self) -> str:
        """Return the page in Markdown."""
        sections = {name: one for name, one in self._root["properties"].items() if self._model(one)}
        alone = {
            name: one for name, one in self._root["properties"].items() if name not in sections
        }
        parts = [HEAD, *self._table(alone)]
        for name, one in sections.items():
            parts += self._section(name, one, level=2)
        return "\n".join(parts) + "\n"

    def _section(self, place: str, field: Schema, level: int) -> Iterator[str]:
        fields = self._definitions[self._model(field)]["properties"]
        values = {name: one for name, one in fields.items() if not self._model(one, many=False)}
        yield f"\n{'#' * level} {place}\n\n{field['description']}\n"
        yield from self._table(values)
        listed: set[str] = set()
        for name, one in fields.items():
            model = self._model(one)
            if name not in values:
                yield from self._section(f"{place}.{name}", one, level=3)
            elif model and model not in listed:
                listed.add(model)
                same = [f"`{key}`" for key in values if self._model(fields[key]) == model]
                entries = {**one, "description": f"Keys of an entry of {', '.join(same)}."}
                yield from self._section(f"{place}.{name}[]", entries, level=3)

    def _table(self, fields: dict[str, Schema]) -> Iterator[str]:
        if not fields:
            return
        yield "| setting | type | default | what it does |\n|---|---|---|---|"
        for name, field in fields.items():
            default = self._default(field)
            what = " ".join(field["description"].split()).replace("|", "\\|")
            yield f"| `{name}` | {self._type(field)} | {default} | {what} |"

    def _model(self, field: Schema, many: bool = True) -> str | None:
        """Return the name of the section that a field holds or, with ``many``, lists or maps."""
        if "$ref" in field:
            return field["$ref"].rpartition("/")[2]
        if many and field.get("type") == "array":
            return self._model(field["items"])
        if many and isinstance(field.get("additionalProperties"), dict):
            return self._model(field["additionalProperties"])
        if many and "patternProperties" in field:
            return self._model(next(iter(field["patternProperties"].values())))
        found = [self._model(one, many) for one in field.get("anyOf", [])]
        return next((one for one in found if one), None)

    def _type(self, field: Schema) -> str:
        if "anyOf" in field:
            return " or ".join(self._type(one) for one in field["anyOf"])
        if "$ref" in field:
            return "section"
        if "const" in field:
            return f"`{field['const']}`"
        if "enum" in field:
            return " or ".join(f"`{one}`" for one in field["enum"])
        kind = field.get("type", "any")
        if kind == "array":
            return (
                "list of entries" if self._model(field) else f"list of {self._type(field['items'])}"
            )
        if kind == "object":
            return "mapping"
        bounds = [f"{sign} {field[key]:g}" for key, sign in BOUNDS.items() if key in field]
        if kind == "string":
            kind = {"path": "path", "date": "date", "password": "URL"}.get(
                field.get("format", ""), "text"
            )
        return " ".join([kind, ", ".join(bounds)]).strip()

    @staticmethod
    def _default(field: Schema) -> str:
        if "default" not in field:
            return "required"
        value = field["default"]
        return f"`{json.dumps(value, ensure_ascii=False)}`".replace("|", "\\|")


def settings_page() -> str:
    """Return docs/settings.md."""
    return Page(settings_schema()).text()


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
    PARAMS.write_text(with_comments(PARAMS.read_text(encoding="utf-8")), encoding="utf-8")
