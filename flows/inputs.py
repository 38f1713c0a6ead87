"""Inputs of a stage that are missing: files whose stage has not run, and settings."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException, OutputNotFoundError
from dvc.repo import Repo
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.settings import Settings

SETTING = re.compile(r"\$\{(?!item\b)([\w.]+)\}")
"""A setting that ``dvc.yaml`` takes from ``params.yaml``; ``item`` is of a matrix."""


def missing_inputs(command: str, root: Path) -> dict[str, str]:
    """Return the missing inputs of the stages that run ``bowerbird <command>``: path, relative to
    ``root``, to the name of the stage that makes it.

    Empty where ``root`` has no ``dvc.yaml`` that DVC can read.
    """
    try:
        repo = Repo(str(root))
        stages = [stage for stage in repo.index.stages if _runs(stage.cmd, command)]
    except DvcException:
        return {}
    absent = [dep for stage in stages for dep in stage.deps if not _there(Path(dep.fs_path))]
    found = {}
    for dep in absent:
        try:
            made = repo.find_outs_by_path(dep.fs_path, strict=False)
        except OutputNotFoundError:  # a file of the project, not an output
            continue
        if made[0].stage.always_changed:  # it tells DVC what changed; the stage does not read it
            continue
        name, _, _ = made[0].stage.addressing.partition("@")  # of a matrix: all of it
        found[str(Path(dep.fs_path).relative_to(root.resolve()))] = name
    return found


def missing_settings(settings: Settings, root: Path) -> dict[str, str]:
    """Return the settings that ``dvc.yaml`` takes from ``params.yaml`` and are not there, with
    their defaults as YAML.

    The other settings have their defaults where they are missing; DVC does not know these.
    """
    try:
        read = (root / "dvc.yaml").read_text(encoding="utf-8")
        given = YAML(typ="safe").load((root / "params.yaml").read_text(encoding="utf-8"))
    except (OSError, YAMLError):
        return {}
    defaults = settings.model_dump(mode="json", by_alias=True)
    names = dict.fromkeys(SETTING.findall(read))
    return {name: json.dumps(_at(defaults, name)) for name in names if _at(given, name) is None}


def _at(values: Any, name: str) -> Any:
    """Return the setting of this name, None where it is missing."""
    for part in name.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _runs(stage_command: str | None, command: str) -> bool:
    return shlex.split(stage_command or "")[:2] == ["bowerbird", command]


def _there(path: Path) -> bool:
    """Return whether a path is a file or a folder that holds something: a stage that failed may
    leave an empty one."""
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def remedy(missing: dict[str, str], stage: str) -> str:
    """Return one sentence: what ``stage`` misses and the command that makes it, then runs it.

    >>> remedy({"data/valid": "validate"}, "preprocess")
    'preprocess needs data/valid, which the stage validate makes: run `dvc repro preprocess`'
    """
    files, stages = ", ".join(missing), list(dict.fromkeys(missing.values()))
    made = f"stage {stages[0]} makes" if len(stages) == 1 else f"stages {', '.join(stages)} make"
    return f"{stage} needs {files}, which the {made}: run `dvc repro {stage}`"
