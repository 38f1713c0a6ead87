"""The comments of params.yaml: each setting's description in ``components/settings.py``.

A description's first paragraph is the comment.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import SecretStr
from pydantic.json_schema import GenerateJsonSchema

from components.settings import Settings

COLUMN = 32  # of the comments
WIDTH = 100  # of a line
NARROW = 24  # a line whose value leaves less for its comment has none

Schema = dict[str, Any]


class PlainSchema(GenerateJsonSchema):
    """Shows the defaults of settings that may hold a credential: a default holds none."""

    def encode_default(self, dft: Any) -> Any:
        return super().encode_default(dft.get_secret_value() if isinstance(dft, SecretStr) else dft)


def settings_schema() -> Schema:
    """Return the JSON schema of all settings, with their descriptions and defaults."""
    return Settings.model_json_schema(schema_generator=PlainSchema)


def with_comments(text: str) -> str:
    """Return params.yaml's text with the comment of every setting as its field's description.

    Comments on lines that hold no setting, and comments on lines of their own left of the column of
    comments, stay.
    """
    schema = settings_schema()
    comments = dict(_comments(yaml.compose(text), schema, schema, set()))
    lines: list[str] = []
    for number, line in enumerate(text.splitlines()):
        if line.lstrip().startswith("#") and line.index("#") >= NARROW:
            continue  # the rest of a comment
        if number not in comments:
            lines.append(line)
            continue
        end, comment = comments[number]
        content = line[:end]
        column = max(COLUMN, len(content) + 2)
        if WIDTH - column - 2 < NARROW:
            lines.append(content)
            continue
        first, *rest = textwrap.wrap(comment, WIDTH - column - 2)
        lines.append(f"{content:<{column}}# {first}")
        lines += [f"{'':<{column}}# {one}" for one in rest]
    return "\n".join(lines) + "\n"


def _comments(
    node: yaml.Node, field: Schema, schema: Schema, seen: set[str]
) -> Iterator[tuple[int, tuple[int, str]]]:
    """Yield line, end of the content, and comment of each setting that begins a line of ``node``.

    The sections of the file itself have none: their names say it.

    seen: places in the schema that have their comment already; entries of a list share theirs.
    """
    if isinstance(node, yaml.SequenceNode) and "items" in field:
        for one in node.value:
            yield from _comments(one, field["items"], schema, seen)
    name = field.get("$ref", "").rpartition("/")[2]
    fields = (schema["$defs"][name] if name else field).get("properties")
    if not isinstance(node, yaml.MappingNode) or not fields or node.flow_style:
        return
    for key, value in node.value:
        below = fields.get(key.value)
        if below is None:
            continue
        place = f"{name}.{key.value}"
        if isinstance(value, yaml.ScalarNode) and value.style in ("|", ">"):
            continue  # a text of several lines, such as a query
        if place not in seen and not (field is schema and "$ref" in below):
            seen.add(place)
            block = value.start_mark.line != key.start_mark.line
            end = key.end_mark.column + 1 if block else value.end_mark.column
            yield (
                key.start_mark.line,
                (end, " ".join(below["description"].split("\n\n")[0].split())),
            )
        yield from _comments(value, below, schema, seen)
