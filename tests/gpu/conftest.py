"""What the tests on a GPU share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.gpu.shop import write_shop


@pytest.fixture(scope="session")
def on_cpu() -> Iterator[Callable[..., Any]]:
    """A function that calls a function with arguments in a process that sees no GPU."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CUDA_VISIBLE_DEVICES", "")
            assert not pool.submit(torch.cuda.is_available).result()  # the process has started
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a small shop. Read only: what is written goes to ``shop.place``."""
    root = tmp_path_factory.mktemp("shop") / "root"
    write_shop(root, users_in=5, items=500)
    return root


@pytest.fixture
def gpu_used() -> Iterator[None]:
    """Fails if the test did not hold a megabyte on the GPU at any time."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    yield
    assert torch.cuda.max_memory_allocated() > before + 1e6
