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
_PINNED = re.compile(r"^[\w.-]+==[\w.!+-]+", re.MULTILINE)


def exact_requirements(files: Iterable[Path] = FILES) -> list[str]:
    """Return ``name==version`` of every package that ``files`` lock.

    >>> any(one.startswith("torch==") for one in exact_requirements())
    True
    """
    return [line for file in files for line in _PINNED.findall(file.read_text(encoding="utf-8"))]
