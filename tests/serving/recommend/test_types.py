"""Requests on their way to the ranking process."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np

from serving.recommend.types import Filters
from tests.serving.recommend.requests import ask_for


def test_a_request_is_the_same_on_the_other_side() -> None:
    filters = Filters("toys", 1.0, attributes=(("colour", ("blue",), None, None),))
    one = ask_for(3, 1, exclude=(4,), recent=(1,), unknown=("zz",), filters=filters, arm_name="b")
    codes = np.array([7, 9], dtype=np.int32)
    one = replace(one, history=replace(one.history, attributes=codes))
    other = pickle.loads(pickle.dumps(one))
    for name in ("items", "times", "attributes"):
        assert getattr(other.history, name).tolist() == getattr(one.history, name).tolist()
        assert getattr(other.history, name).dtype == getattr(one.history, name).dtype
    assert replace(other, history=one.history) == one
    assert (other.history.now, other.history.kinds) == (one.history.now, one.history.kinds)
