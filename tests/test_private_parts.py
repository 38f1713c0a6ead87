"""Private parts of libraries that the code uses: each is listed with its reason and still exists,
and its package is pinned to the minor version. A private part that is not listed fails."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

FOLDERS = ("components", "flows", "serving", "monitoring")
WITHOUT_PROMISE = {"legacy", "bentoml_cli"}
"""Parts of a module's name that are private without an underscore."""

PRIVATE = {
    ("serving/service.py", "_bentoml_impl.server.app.ServiceAppFactory"): (
        "readyz is replaced: BentoML's own answers without a model"
    ),
    ("serving/service.py", "bentoml._internal.server.http.traffic"): (
        "TimeoutMiddleware is replaced: BentoML's keeps each request in memory for its timeout"
    ),
    ("serving/startup.py", "bentoml._internal.configuration.containers.BentoMLContainer"): (
        "prometheus_multiproc_dir is read: the folder that the endpoint's workers share"
    ),
    ("serving/launch.py", "bentoml._internal.container.BentoMLContainer"): (
        "prometheus_multiproc_dir: a folder of its own for each endpoint"
    ),
    ("serving/launch.py", "bentoml._internal.utils.circus"): (
        "create_standalone_arbiter is replaced: BentoML's opens two TCP ports without a login"
    ),
    ("serving/launch.py", "bentoml._internal.utils.circus.Arbiter"): "see above",
    ("serving/launch.py", "bentoml._internal.utils.circus.ThreadedArbiter"): "see above",
    ("serving/launch.py", "bentoml_cli.serve.serve_command"): (
        "bentoml.serve starts another process and gives no way to replace the parts above"
    ),
    ("serving/api/connections.py", "uvicorn:super()._start_asgi_task"): (
        "where a request is counted; uvicorn has no public place for it"
    ),
}

REPLACED = (
    "bentoml._internal.server.http.traffic:TimeoutMiddleware",
    "_bentoml_impl.server.app:ServiceAppFactory.readyz",
    "bentoml._internal.container:BentoMLContainer.prometheus_multiproc_dir",
    "bentoml._internal.utils.circus:create_standalone_arbiter",
    "bentoml._internal.utils.circus:Arbiter",
    "bentoml._internal.utils.circus:ThreadedArbiter",
    "bentoml_cli.serve:serve_command",
    "uvicorn.config:HTTP_PROTOCOLS",
    "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol._start_asgi_task",
    "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol._unset_keepalive_if_required",
)
PINNED = ("bentoml", "evidently", "uvicorn")


def is_private(name: str) -> bool:
    """Return whether a part of a dotted name is no public one.

    >>> [is_private(name) for name in ("torch.cpu._is_vnni_supported", "np.__version__", "ibis._")]
    [True, False, False]
    """
    return any(
        part in WITHOUT_PROMISE or (part.startswith("_") and not part.endswith("_"))
        for part in name.split(".")
    )


def dotted(node: ast.expr) -> str | None:
    """Return ``a.b.c`` of an expression of names and attributes, None of any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return None


def private_parts(source: str) -> Iterator[str]:
    """Yield the private names of other packages that a module imports, reads or calls."""
    tree = ast.parse(source)
    names: dict[str, str] = {}  # imported name → what it stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                names[one.asname or one.name.split(".")[0]] = (
                    one.name if one.asname else one.name.split(".")[0]
                )
                if is_private(one.name):
                    yield one.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for one in node.names:
                name = f"{node.module}.{one.name}"
                names[one.asname or one.name] = name
                if is_private(name):
                    yield name
    known = {*FOLDERS, *sys.stdlib_module_names}
    own = {name for name, stands_for in names.items() if stands_for.split(".")[0] in known}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            bases = [names.get((dotted(base) or "").split(".")[0], "") for base in node.bases]
            theirs = next((base.split(".")[0] for base in bases if base), "")
            for inner in ast.walk(node):
                if (
                    isinstance(inner, ast.Attribute)
                    and isinstance(inner.value, ast.Call)
                    and dotted(inner.value.func) == "super"
                    and is_private(inner.attr)
                    and theirs not in ("", *FOLDERS)
                ):
                    yield f"{theirs}:super().{inner.attr}"
        elif isinstance(node, ast.Attribute) and (name := dotted(node)):
            first, *rest = name.split(".")
            if first in names and first not in own and is_private(".".join(rest)):
                full = ".".join([names[first], *rest])
                if not is_private(names[first]):
                    yield full


def test_every_private_part_is_listed_with_its_reason() -> None:
    files = [Path("bowerbird.py"), *(file for one in FOLDERS for file in Path(one).rglob("*.py"))]
    found = {
        (file.as_posix(), name)
        for file in files
        for name in private_parts(file.read_text(encoding="utf-8"))
    }
    assert found == PRIVATE.keys()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from evidently.legacy.core import ColumnType", ["evidently.legacy.core.ColumnType"]),
        ("import torch\ntorch.cpu._is_vnni_supported()", ["torch.cpu._is_vnni_supported"]),
        ("import numpy as np\nnp._core.x", ["numpy._core", "numpy._core.x"]),
        ("from prefect import flow\nflow._run", ["prefect.flow._run"]),
        ("from a.b import C\nclass D(C):\n def f(self): super()._g()", ["a:super()._g"]),
        ("from serving.x import C\nC._own\nself._own\nimport os\nos._exit(1)", []),
    ],
)
def test_a_new_private_part_is_found(source: str, found: list[str]) -> None:
    assert sorted(private_parts(source)) == found


GONE = """
import importlib, sys

for name in sys.argv[1:]:
    module, _, path = name.partition(":")
    place = importlib.import_module(module)
    for part in path.split("."):
        if not hasattr(place, part):
            print(name)
            break
        place = getattr(place, part)
"""


def gone(*names: str) -> list[str]:
    """Return the names that are not there, in a process without what other tests imported."""
    command = [sys.executable, "-c", GONE, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_what_is_replaced_or_called_is_still_there() -> None:
    assert gone(*REPLACED) == []  # else see where serving/ uses it
    assert gone("uvicorn.config:HTTP_PROTOCOLS", "uvicorn.config:NONE") == ["uvicorn.config:NONE"]


@pytest.mark.parametrize("package", PINNED)
def test_packages_with_private_parts_are_pinned_to_the_minor_version(package: str) -> None:
    """A minor version may change a private part without notice; this test runs on the next one."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    ranges = {
        canonicalize_name(one.name): one.specifier
        for one in map(Requirement, project["dependencies"])
    }
    here = Version(version(package))
    assert here in ranges[package]
    assert f"{here.major}.{here.minor + 1}.0" not in ranges[package]
