"""Loops that numpy cannot express, compiled by numba and run without Python's global lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"reassoc", "contract"},  # sums in any order: vectorised
}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` compiled at its first call, without the interpreter's lock.

    The machine code is cached next to the source file, as Python's bytecode is; where neither that
    folder nor the home folder is writable, each process compiles again.
    """
    try:
        return njit(function, cache=True, **OPTIONS)
    except RuntimeError:  # numba found no folder that it may write to
        return njit(function, **OPTIONS)
