"""Presets: settings for the files of well-known exports and data sets.

A preset is a file ``presets/NAME.yaml``: the names of its files (``files``), what a reader must
know (``notes``), and the sections ``ingest`` and ``validate``, with a placeholder ``{file}`` where
the path of a file belongs. Its queries are DuckDB SQL that a shop can read and change. What the
section ``ingest`` lacks is that of the preset ``base``, if it names one.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files as package_files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from components.data.sources.hints import did_you_mean
from components.data.sources.places import visible
from components.data.sources.stored import COMPRESSED
from components.settings import CandidateName

SECTIONS = ("interactions", "items", "users", "reviews")
"""Lists of sources of ``ingest``."""


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PresetFile(_Strict):
    """A file of a preset."""

    path: Annotated[list[str], BeforeValidator(_as_list)] = Field(min_length=1)
    """Its name, or names and patterns tried in order. The name may also end in .gz, .zip …"""
    optional: bool = False
    """Without it, sources that read it are left out."""


class Preset(_Strict):
    """Settings for the files of a well-known export or data set."""

    name: str
    title: str
    source: str
    """Where the files come from, and their licence as far as it is known."""
    files: dict[str, PresetFile]
    notes: str
    """What is left out, and what was decided."""
    template: dict[str, Any] = Field(alias="ingest")
    """The section ``ingest`` with placeholders."""
    validation: dict[str, Any] = Field(default={}, alias="validate")
    """What of the section ``validate`` differs from the defaults."""
    repeat_purchases: bool = False
    """Whether customers buy the same products again, so that these are recommended too."""
    without: list[CandidateName] = []
    """Candidates that such a shop trains without, as its notes explain."""

    def find(self, folder: Path, given: Mapping[str, Path] | None = None) -> dict[str, Path]:
        """Return the path of each file in ``folder``, or in a folder directly in it, by its name in
        ``files``.

        The path of several files is a pattern. Optional files that are not there are left out.

        given: paths of files that are not looked for.

        Raises:
            FileNotFoundError: there is no such folder, or a file is missing.
            ValueError: a given file is unknown to the preset, or files that belong together are
                compressed in different ways or in different places.
        """
        given = given or {}
        if unknown := given.keys() - self.files.keys():
            name = min(unknown)
            raise ValueError(
                f"preset {self.name} reads no file {name!r}{did_you_mean(name, self.files)}; it "
                f"reads {', '.join(self.files)}"
            )
        if folder.is_file():
            raise ValueError(
                f"preset {self.name}: {folder} is a file: unpack it and give the folder as --data"
            )
        if not folder.is_dir():
            raise FileNotFoundError(f"preset {self.name}: there is no folder {folder}")
        found = {
            name: given[name] if name in given else self._find(folder, name)
            for name, file in self.files.items()
        }
        for name, file in self.files.items():
            if found[name] is None and not file.optional:
                there = sorted(one.name for one in folder.iterdir())
                hint = did_you_mean(file.path[0], there)
                raise FileNotFoundError(
                    f"preset {self.name}: {folder} has no file {' or '.join(file.path)} "
                    f"({name}){hint}; it has {', '.join(there[:10]) or 'no file at all'}. "
                    f"The files come from {self.source}; --file {name}=PATH names one that is "
                    "called otherwise"
                )
        return {name: path for name, path in found.items() if path is not None}

    def _find(self, folder: Path, name: str) -> Path | None:
        """Return the path of the first pattern of a file that matches, None if none does."""
        for pattern in self.files[name].path:
            found = [
                (folder / (place + ending), _matching(folder, place + ending))
                for place in (pattern, f"*/{pattern}")
                for ending in ("", *COMPRESSED)
            ]
            every = set().union(*(files for _, files in found))
            if not every:
                continue
            for path, files in found:
                if files == every:
                    return next(iter(files)) if len(files) == 1 else path
            most = max((files for _, files in found), key=len)
            one, other = min(most), min(every - most)
            raise ValueError(
                f"preset {self.name}: {name} is found as {one} and as {other}: remove one of them, "
                "give all files the same ending in one folder, or name them by a pattern, such as "
                f"--file {name}='{folder}/**/{pattern}*'"
            )
        return None

    def ingest(self, paths: Mapping[str, Path]) -> dict[str, Any]:
        """Return the section ``ingest`` of params.yaml for these files.

        paths: by name, as ``find`` returns them. Sources that read an optional file that is not
        among them are left out.

        Raises:
            ValueError: a file is unknown to the preset, or one that it needs is not among them.
        """
        for name in paths:
            if name not in self.files:
                hint = did_you_mean(name, self.files)
                raise ValueError(f"preset {self.name} reads no file {name!r}{hint}")
        for name, file in self.files.items():
            if name not in paths and not file.optional:
                raise ValueError(
                    f"preset {self.name} needs the file {name}: {' or '.join(file.path)}"
                )
        absent = {f"{{{name}}}" for name in self.files if name not in paths}
        section = dict(self.template)
        for part in SECTIONS:
            if part in section:
                section[part] = [one for one in section[part] if not _uses(one, absent)]
        filled: dict[str, Any] = _filled(
            section, {f"{{{name}}}": str(path) for name, path in paths.items()}
        )
        return filled


def names() -> list[str]:
    """Return the names of all presets, sorted.

    >>> names()[:2]
    ['amazon-reviews-2023', 'complete-journey']
    """
    return sorted(
        file.name.removesuffix(".yaml")
        for file in _folder().iterdir()
        if file.name.endswith(".yaml")
    )


def load_preset(name: str) -> Preset:
    """Return the preset ``name``.

    >>> load_preset("movielens-1m").title
    'MovieLens 1M (GroupLens)'

    Raises:
        ValueError: there is no such preset.
    """
    known = names()
    if name not in known:
        raise ValueError(
            f"there is no preset {name!r:.80}{did_you_mean(name, known)}; there are: "
            f"{', '.join(known)}"
        )
    text = _folder().joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    if base := content.pop("base", None):
        content["ingest"] = load_preset(base).template | content["ingest"]
    return Preset.model_validate({"name": name, **content})


def _folder() -> Any:
    return package_files("components.project") / "presets"


def _matching(folder: Path, pattern: str) -> set[Path]:
    """Return the files that a pattern matches, without those that a folder's reader leaves out."""
    return {one for one in folder.glob(pattern) if one.is_file() and visible(one, folder)}


def _uses(value: object, placeholders: set[str]) -> bool:
    """Return whether a setting has one of the placeholders."""
    if isinstance(value, dict):
        return any(_uses(below, placeholders) for below in value.values())
    if isinstance(value, list):
        return any(_uses(below, placeholders) for below in value)
    return value in placeholders if isinstance(value, str) else False


def _filled(value: Any, paths: Mapping[str, str]) -> Any:
    """Return the setting with paths in the places of placeholders."""
    if isinstance(value, dict):
        return {key: _filled(below, paths) for key, below in value.items()}
    if isinstance(value, list):
        return [_filled(below, paths) for below in value]
    return paths.get(value, value) if isinstance(value, str) else value
