"""Which code each stage of ``dvc.yaml`` runs: the modules that its command imports.

``python -m flows.dag`` (or ``make dag``) writes them to ``components/project/code.json``, from
which the stage ``code`` makes the digests that the other stages depend on; a test compares the two.
Run it after a module was added, moved or imported from a new place.

The imports are read from the source, without running it: starting with the module that the command
of ``bowerbird.py`` names in ``_stage``, all imports of this project's packages, those within
functions included. Imports for type checkers only do not count, nor do package files with only a
docstring. If all modules of a folder are imported, the folder is listed instead.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path, PurePosixPath

import grimp
from ruamel.yaml import YAML

from components.project.code import LISTED, digests

PACKAGES = ("components", "flows", "monitoring", "serving")
NOT_IMPORTED = {
    "evaluate": ["components/evaluation/report.html.jinja"],
    "understanding": ["components/understanding"],  # its word lists
    "register": ["components"],  # the registry copies the package into a version
}
"""Files and folders of the packages that a stage reads without importing them."""


def command_modules(cli: Path) -> dict[str, str]:
    """Return, for each command of ``bowerbird.py`` that runs a stage, the stage's module."""
    found = {}
    for function in ast.parse(cli.read_text(encoding="utf-8")).body:
        for node in ast.walk(function):
            match node:
                case ast.Call(
                    func=ast.Name(id="_stage"), args=[ast.Constant(value=str(module)), *_]
                ):
                    assert isinstance(function, ast.FunctionDef)
                    found[function.name.replace("_", "-")] = module
    return found


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)


def imported(module: str) -> set[str]:
    """Return the files of ``module`` and of all modules that it imports, relative to the root."""
    names = {module, *_graph().find_upstream_modules(module)}
    names |= {parent for name in names for parent in _parents(name)}
    return {str(_file(name)) for name in names}


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _file(module: str) -> PurePosixPath:
    place = PurePosixPath(*module.split("."))
    return place / "__init__.py" if (_root() / place).is_dir() else place.with_suffix(".py")


def _root() -> Path:
    return Path(__file__).resolve().parents[1]


def _only_docstring(file: Path) -> bool:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return all(isinstance(node, ast.Expr) for node in body)


def _files_below(folder: Path) -> set[str]:
    """Return the files of a folder that DVC sees (see ``.dvcignore``)."""
    return {
        file.relative_to(_root()).as_posix()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def shortest(files: set[str]) -> list[str]:
    """Return ``files``, with a folder instead of its files if all of them are included."""
    folders = sorted({parent for file in files for parent in PurePosixPath(file).parents})
    short: list[str] = []
    for folder in folders:  # a folder precedes its subfolders
        inside = _files_below(_root() / folder) if folder.parts else set()
        modules = {file for file in inside if not file.endswith("__init__.py")}
        if len(modules) > 1 and inside <= files and not _covered(str(folder), short):
            short.append(str(folder))
    rest = {file for file in files if not _covered(file, short)}
    rest = {f for f in rest if not f.endswith("__init__.py") or not _only_docstring(_root() / f)}
    return sorted([*short, *rest])


def _covered(path: str, folders: Iterable[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(folder) for folder in folders)


def code_deps(stage: str, command: str, cli: Path | None = None) -> list[str]:
    """Return the code that a stage depends on.

    command: the stage's command, "bowerbird …".

    Raises:
        KeyError: the command is no command of ``bowerbird.py`` that runs a stage.
    """
    modules = command_modules(cli or _root() / "bowerbird.py")
    read = NOT_IMPORTED.get(stage, [])
    files = imported(modules[command.split()[1]])
    return sorted([*read, *shortest({file for file in files if not _covered(file, read)})])


def code_of_stages(root: Path | None = None) -> dict[str, list[str]]:
    """Return the code of each stage of ``root/dvc.yaml`` that depends on its code."""
    defined = YAML(typ="safe").load((root or _root()) / "dvc.yaml")["stages"]
    return {
        name: code_deps(name, stage["cmd"])
        for name, stage in defined.items()
        if digests(name).as_posix() in stage.get("deps", [])
    }


def write(file: Path) -> None:
    """Write the code of all stages to ``file``."""
    file.write_text(json.dumps(code_of_stages(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(LISTED)
