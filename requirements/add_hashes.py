"""Write the SHA-256 digests of each locked version's files: python add_hashes.py LOCK REPORT.

In: a file of ``name==version`` lines, and pip's installation report of the same versions. Out: the
same file with ``--hash=sha256:…`` lines. The digests come from the package index (the JSON form of
the simple API, PEP 691), for all platforms. The report adds the files that this machine installed,
because another index may offer other builds.
"""

from __future__ import annotations

import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

INDEX = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
JSON = "application/vnd.pypi.simple.v1+json"


def version_of(filename: str) -> str | None:
    """Return the version of an index's file, None if it is no wheel or source archive."""
    parse = parse_wheel_filename if filename.endswith(".whl") else parse_sdist_filename
    try:
        return str(parse(filename)[1])
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def of_index(client: httpx.Client, name: str, version: str) -> set[str]:
    """Return the digests of a version's files on the index."""
    answer = client.get(f"{INDEX}/{canonicalize_name(name)}/", headers={"accept": JSON})
    answer.raise_for_status()
    files = answer.json()["files"]
    return {
        one["hashes"]["sha256"]
        for one in files
        if version_of(one["filename"]) == version and "sha256" in one["hashes"]
    }


def of_report(report: Path) -> dict[str, str]:
    """Return canonical name → digest of the file that pip chose."""
    return {
        canonicalize_name(one["metadata"]["name"]): one["download_info"]["archive_info"]["hashes"][
            "sha256"
        ]
        for one in json.loads(report.read_text(encoding="utf-8"))["install"]
        if "archive_info" in one["download_info"]
    }


def main(lock: Path, report: Path) -> None:
    lines = lock.read_text(encoding="utf-8").splitlines()
    pinned = [line.split("==") for line in lines if re.fullmatch(r"[\w.-]+==[\w.!+-]+", line)]
    installed = of_report(report)
    with httpx.Client(timeout=120, follow_redirects=True) as client, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: of_index(client, *one), pinned))
    text = [line for line in lines if line.startswith("#")]
    for (name, version), digests in zip(pinned, found, strict=True):
        mine = installed.get(canonicalize_name(name))
        digests = sorted(digests | ({mine} if mine else set()))
        if not digests:
            raise SystemExit(f"{INDEX} has no file of {name} {version}: run `make lock` again")
        hashes = [f"--hash=sha256:{digest}" for digest in digests]
        text.append(" \\\n    ".join([f"{name}=={version}", *hashes]))
    lock.write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
