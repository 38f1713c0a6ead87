"""Messages on a stream of bytes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from serving.recommend.frames import Frames


@given(
    st.lists(st.lists(st.integers() | st.text(max_size=20) | st.binary(max_size=20)), max_size=6),
    st.data(),
)
def test_frames_are_read_however_they_are_cut(contents: list[Any], data: st.DataObject) -> None:
    stream = b"".join(Frames.of(content) for content in contents)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    frames, found = Frames(), []
    for start, stop in pairwise([0, *cuts, len(stream)]):
        found += frames.read(stream[start:stop])
    assert found == contents
