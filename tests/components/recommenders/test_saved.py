"""Model files: mapped, not copied, the same as safetensors reads them, and checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import load_file, save_file

from components.recommenders.base import DTYPES, mapped_arrays

KINDS = [np.dtype(kind) for kind in DTYPES.values()]
ARRAYS = st.sampled_from(KINDS).flatmap(lambda kind: arrays(kind, array_shapes(min_side=0)))


@settings(max_examples=50)
@given(st.dictionaries(st.text("abc_.", min_size=1), ARRAYS, min_size=1, max_size=4))
def test_it_reads_what_safetensors_reads(
    tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, np.ndarray]
) -> None:
    file = tmp_path_factory.mktemp("saved") / "model.safetensors"
    save_file(wanted, file, {"made": "here"})
    found, expected = mapped_arrays(file), load_file(file)
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert array.dtype == expected[name].dtype
        assert array.shape == expected[name].shape
        assert array.tobytes() == expected[name].tobytes()
        assert not array.flags.writeable


@pytest.mark.parametrize("kept", [0, 5, 40, -3])
def test_a_damaged_file_is_named(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"x": np.ones((4, 4), dtype=np.float32)}, file)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        mapped_arrays(file)


def test_two_loads_share_their_memory(tmp_path: Path) -> None:
    """Private memory does not grow by what is read of a mapped file."""
    file = tmp_path / "model.safetensors"
    save_file({"x": np.ones((4000, 4000), dtype=np.float32)}, file)  # 64 MB
    own = psutil.Process().memory_full_info
    before = own().uss
    arrays = [mapped_arrays(file)["x"] for _ in range(3)]
    assert sum(float(array.sum()) for array in arrays) == 3 * 16_000_000
    assert own().uss - before < 100_000_000  # copies would be 192
