"""The exact requirements of the project, as ``make lock`` wrote them.

In: ``requirements/lock.txt``, every package with the digests of its files, and
``requirements/torch.txt``, PyTorch without them, because its build (CPU, CUDA) depends on the
machine.
"""

from __future__ import annotations

import re
from pathlib import Path

FILES = ("requirements/lock.txt", "requirements/torch.txt")
_PINNED = re.compile(r"^[\w.-]+==[\w.!+-]+", re.MULTILINE)


def exact_requirements(root: Path) -> list[str]:
    """Return ``name==version`` of every locked package below ``root``, [] without the files.

    >>> exact_requirements(Path("no such folder"))
    []
    """
    files = [root / name for name in FILES if (root / name).exists()]
    return [line for file in files for line in _PINNED.findall(file.read_text(encoding="utf-8"))]
