"""Memory that a process has and no longer uses."""

from __future__ import annotations

import ctypes

import pyarrow as pa


def release_unused_memory() -> None:
    """Give memory that is no longer used back to the operating system.

    After a model was read, the allocators of Arrow and of glibc keep a sixth of what it took, for
    more of the same that does not come.
    """
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc; musl and macOS have none
    if trim is not None:
        trim(0)
