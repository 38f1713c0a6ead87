"""What README and docs tell users to type is accepted by the program as it is."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pandas as pd
import pytest
import typer
import yaml
from dvc.cli import DvcParserError, parse_args
from pydantic import ValidationError

from bowerbird import app as command_line
from components.data import ingest as ingest_stage
from components.settings import AttributeType, Settings, Source, load_settings
from serving.api import merchandising_schemas, schemas
from serving.api.app import create_app
from serving.recommend import query
from tests.conftest import REPOSITORY
from tests.docs.examples import PLACEHOLDER, Example, examples, pages, write_tables

OTHERS = {
    "bentoml",
    "docker",
    "git",
    "jq",
    "kubectl",
    "prefect",
    "export",
    "ssh",
    "sqlite3",
    "openssl",
    "alembic",
}
"""Programs of others whose arguments are not checked."""

BOWERBIRD: Any = typer.main.get_command(command_line)
"""The command line as a group of commands."""

INLINE = re.compile(r"`((?:bowerbird|make|dvc|torchrun|python -m)(?: [^`]+))`")
"""A command within a sentence."""
PROSE = {"make the file and its folder writable"}
"""A message that begins as a command does."""

PATHS = re.compile(
    r"`((?:components|serving|monitoring|flows|tests|benchmarks|docs|datasets|requirements)/[\w./-]+)`"
)
DEPLOYMENTS = {"monitoring/shop"}
"""Names of deployments that look like a path."""
FILES = {".csv", ".json", ".md", ".py", ".yaml"}
SETTING = re.compile(rf"`((?:{'|'.join(sorted(Settings.sections() - {'seed'}))})(?:\.[a-z_]+)+)")


def commands(example: Example) -> list[str]:
    """Return the commands of a block, each on one line, without comments."""
    lines = example.text.replace("\\\n", " ").splitlines()
    return [one for line in lines for one in split(line)]


def split(line: str) -> list[str]:
    """Return the commands of a line that ``&&`` or ``|`` join."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|&;"):
            found.append([])
        else:
            found[-1].append(word)
    return [shlex.join(words) for words in found if words]


@cache
def targets() -> set[str]:
    """Return the targets of the Makefile."""
    text = (REPOSITORY / "Makefile").read_text()
    return set(re.findall(r"^([a-z0-9-]+):", text, re.MULTILINE))


def check(command: str, whole: bool) -> None:
    """Raise where a command is not accepted. whole: it is complete, so arguments may not miss."""
    words = shlex.split(PLACEHOLDER.sub("1", command))
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    match words:
        case ["bowerbird", *arguments]:
            check_bowerbird(arguments, whole)
        case ["torchrun", *options] if "bowerbird" in options:
            check_bowerbird(options[options.index("bowerbird") + 1 :], whole)
        case ["make", *goals]:
            assert goals, command
            assert set(goals) <= targets(), f"{command}: the Makefile has no such target"
        case ["dvc", *arguments]:
            try:
                parse_args(arguments)
            except DvcParserError as error:
                raise AssertionError(f"{command}: {error}") from error
        case ["python", "-m", module, *_]:
            place = REPOSITORY / module.replace(".", "/")
            assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), command
        case ["curl", *arguments]:
            check_curl(arguments)
        case ["cd", _] | [".", ".venv/bin/activate"]:
            pass
        case [program, *_]:
            assert program in OTHERS, f"{command}: nothing checks {program}"
        case _:
            raise AssertionError(f"{command!r} is no command")


def check_bowerbird(arguments: list[str], whole: bool) -> None:
    if arguments == ["--help"]:
        return
    name, *rest = arguments
    assert name in BOWERBIRD.commands, f"there is no command bowerbird {name}"
    if whole:
        try:
            BOWERBIRD.commands[name].make_context(name, rest)
        except typer.BadParameter.__base__ as error:  # its UsageError
            raise AssertionError(f"bowerbird {name}: {error}") from error
    else:
        options = {one for parameter in BOWERBIRD.commands[name].params for one in parameter.opts}
        assert {one for one in rest if one.startswith("-")} <= options, arguments


@cache
def documented() -> dict[str, Any]:
    """Return the paths of the endpoint's OpenAPI document."""
    return create_app(load_settings(REPOSITORY / "params.yaml").serve).openapi()["paths"]


def check_curl(arguments: list[str]) -> None:
    """Raise where the endpoint has no such route, or its model refuses the body."""
    method, body, address = None, None, None
    words = iter(arguments)
    for word in words:
        if word == "-X":
            method = next(words)
        elif word in ("-d", "--json"):
            body = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(":")
            assert value.strip(), name
        elif not word.startswith("-"):
            address = word
    assert address is not None
    host, _, path = address.partition("/")
    path, _, query_string = path.partition("?")
    assert host == "localhost:3000", address
    method = method or ("GET" if body is None else "POST")
    operation = next(
        (
            operations[method.lower()]
            for template, operations in documented().items()
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), f"/{path}")
            and method.lower() in operations
        ),
        None,
    )
    assert operation is not None, f"{method} /{path}: there is no such route"
    known = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
    assert dict(parse_qsl(query_string)).keys() <= known, address
    if body is not None and "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        models = [one["$ref"] for one in (schema, *schema.get("anyOf", [])) if "$ref" in one]
        assert models, f"{method} /{path} takes no body"
        name = models[0].rpartition("/")[2]
        modules = (query, merchandising_schemas, schemas)
        models = [getattr(module, name) for module in modules if hasattr(module, name)]
        models[0].model_validate_json(body)


@pytest.mark.parametrize("example", examples("sh"), ids=str)
def test_commands_are_accepted(example: Example) -> None:
    found = commands(example)
    assert found
    for command in found:
        check(command, whole=True)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_commands_within_sentences_exist(page: Path) -> None:
    for found in INLINE.findall(page.read_text()):
        line = " ".join(found.split())
        if line in PROSE or line.startswith("bowerbird <"):
            continue
        for command in split(PLACEHOLDER.sub("1", line)):
            check(command, whole=False)


@pytest.mark.parametrize(
    "command",
    [
        "bowerbird fly",
        "bowerbird serve --wings 2",
        "make nest",
        "dvc reproduce",
        "python -m benchmarks.nothing",
        "curl localhost:3000/nothing",
        "curl localhost:3000/recommend -d '{\"user\": 1}'",
        "unknown",
    ],
)
def test_a_wrong_command_is_found(command: str) -> None:
    with pytest.raises((AssertionError, ValidationError)):
        check(command, whole=True)


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the values of ``over``, sections merged."""
    both = base.keys() & over.keys()
    deeper = {
        key: merged(base[key], over[key])
        for key in both
        if isinstance(base[key], dict) and isinstance(over[key], dict)
    }
    return base | over | deeper


YAML = [one for one in examples("yaml") if "add-a-model" not in one.page]  # see test_recipes


@pytest.mark.parametrize("example", YAML, ids=str)
def test_settings_are_accepted(example: Example, tmp_path: Path) -> None:
    found = yaml.safe_load(PLACEHOLDER.sub("1", example.text))
    if "apiVersion" in found:
        assert found["spec"]["template"]["spec"]["containers"]
        return
    assert found.keys() <= Settings.sections()
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(merged(params, found)))
    assert load_settings(file) != load_settings(REPOSITORY / "params.yaml")


VALUES = {
    "timestamp": "2026-03-01T10:00:00",
    "quantity": "2",
    "price": "9.5",
    "rating": "4",
    "event": "click",
    "available": "true",
    "category": "Garden > Lamps",
    "categories": "Garden > Lamps",
    "currency": "EUR",
}
"""A value of each column of the contract that is no free text."""
OF_TYPE: dict[AttributeType, str] = {"number": "1.5", "date": "2024-01-31"}
"""A value of each type of attribute that is no text."""


@pytest.mark.parametrize("example", [one for one in YAML if "ingest:" in one.text], ids=str)
def test_the_examples_of_a_shops_files_are_ingested(
    example: Example, tmp_path: Path, settings: Settings
) -> None:
    ingest = merged(
        {"interactions": [], "items": [], "users": [], "reviews": []},
        yaml.safe_load(example.text)["ingest"],
    )
    for table in ("interactions", "items", "users", "reviews"):
        servers = [entry for entry in ingest[table] if "database" in entry]
        assert all(Source.model_validate(entry).database for entry in servers)
        ingest[table] = [entry for entry in ingest[table] if entry not in servers]
    if not ingest["interactions"]:
        own = {"path": "own.csv", "columns": {n: n for n in ("user_id", "item_id", "timestamp")}}
        ingest["interactions"] = [own]
    wanted = {}
    for table in ("interactions", "items", "users", "reviews"):
        for entry in ingest[table]:
            if "query" in entry:
                write_tables(entry, tmp_path)
                continue
            entry["path"] = entry["path"].lstrip("/")
            attributes = Source.model_validate(entry).attributes
            kinds = {one.column or name: one.type for name, one in attributes.items()}
            write(tmp_path / entry["path"], entry["columns"], kinds)
        wanted[table] = len(ingest[table])
    chosen = type(settings.ingest).model_validate(ingest)
    ingest_stage.run(settings.model_copy(update={"ingest": chosen}), tmp_path)
    for table in ("interactions", "reviews"):
        assert len(pd.read_parquet(tmp_path / f"data/raw/{table}.parquet")) == wanted[table]
    for table in ("items", "users"):
        assert len(pd.read_parquet(tmp_path / f"data/raw/{table}.parquet")) >= bool(wanted[table])


def write(place: Path, columns: dict[str, str], attributes: dict[str, AttributeType]) -> None:
    """Write a file of one row with the shop's columns, of the kind that its name says.

    attributes: types of further columns.
    """
    if not place.suffix:
        place = place / "rows.csv"
    place.parent.mkdir(parents=True, exist_ok=True)
    row = {shop: VALUES.get(name, name) for name, shop in columns.items()}
    row |= {shop: OF_TYPE.get(kind, kind) for shop, kind in attributes.items()}
    table = pd.DataFrame([row])
    match place.suffix:
        case ".parquet":
            table.to_parquet(place)
        case ".jsonl":
            table.to_json(place, orient="records", lines=True)
        case _:
            table.to_csv(place, index=False)


@pytest.mark.parametrize("example", examples("python", "json", "toml"), ids=str)
def test_code_and_data_are_read(example: Example) -> None:
    match example.language:
        case "python":
            compile(example.text, str(example), "exec")
        case "json":
            json.loads(example.text)
        case "toml":
            tomllib.loads(example.text)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_files_and_settings_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    named = set(PATHS.findall(text)) - DEPLOYMENTS
    assert not [one for one in named if not (REPOSITORY / one).exists()]
    settings = [one for one in SETTING.findall(text) if Path(one).suffix not in FILES]
    assert not [one for one in settings if not is_setting(one.split("."))]


def is_setting(keys: list[str]) -> bool:
    """Return whether params.yaml may hold a value at ``keys``."""
    place: Any = Settings
    for key in keys:
        fields = {f.alias or name: f for name, f in getattr(place, "model_fields", {}).items()}
        if key not in fields:
            return False
        place = fields[key].annotation
    return True
