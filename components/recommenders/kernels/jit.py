"""Loops that numpy cannot say: compiled by numba, and run while other Python threads go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"reassoc", "contract"},  # sums in any order: several at a time
}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` compiled at its first call, without the interpreter's lock.

    What was compiled is kept beside the source file, as Python keeps its own; where nothing can
    be written there or in the home folder, each process compiles for itself.
    """
    try:
        return njit(function, cache=True, **OPTIONS)
    except RuntimeError:  # numba found no folder that it may write to
        return njit(function, **OPTIONS)
