"""What a process no longer uses goes back to the operating system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

SCRIPT = """
import sys
import pandas as pd, psutil
from serving.memory import release_unused_memory

def megabytes():
    return psutil.Process().memory_full_info().uss / 1e6

table = pd.read_parquet(sys.argv[1])
kept = table["title"].tolist()[::1000]
del table
before = megabytes()
release_unused_memory()
print(before - megabytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other allocators keep other parts")
def test_memory_of_a_table_that_was_read_is_released(tmp_path: Path) -> None:
    file = tmp_path / "items.parquet"
    titles = [f"a title of product {number}, which is long enough" for number in range(300_000)]
    pd.DataFrame({"title": titles}).to_parquet(file)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, file], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) > 20
