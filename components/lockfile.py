"""The exact requirements of the project, as ``make lock`` wrote them.

In: ``lock.txt``, every package with the digests of its files, and ``torch.txt``, PyTorch without
them, because its build (CPU, CUDA) depends on the machine. The package ``locked`` has both, so that
an installed wheel has them too; in the repository they are links to ``requirements/``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

FILES = tuple(Path(__file__).with_name("locked") / name for name in ("lock.txt", "torch.txt"))
_LOCKED = re.compile(r"^([\w.-]+==[\w.!+-]+)((?: \\\n +--hash=sha256:[0-9a-f]{64})*)", re.MULTILINE)


def locked_digests(files: Iterable[Path] = FILES) -> dict[str, list[str]]:
    """Return the SHA-256 digests of the files of every ``name==version`` that ``files`` lock.

    >>> digests = locked_digests()
    >>> digests["torch==2.13.0"], min(map(len, digests["typer==0.29.2"]))
    ([], 64)
    """
    found = [one for file in files for one in _LOCKED.findall(file.read_text(encoding="utf-8"))]
    return {pinned: re.findall(r"sha256:(\w+)", digests) for pinned, digests in found}


def exact_requirements(files: Iterable[Path] = FILES) -> list[str]:
    """Return ``name==version`` of every package that ``files`` lock.

    >>> any(one.startswith("torch==") for one in exact_requirements())
    True
    """
    return list(locked_digests(files))
