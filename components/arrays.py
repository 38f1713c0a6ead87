"""Types of numpy arrays by what they hold; shapes are in the docstrings.

Functions take ``IntArray``, any width, where width does not matter, and name the width of what
they return.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
"""Scores, weights, vectors and features: what models compute with."""
DoubleArray = NDArray[np.float64]
"""Metrics, probabilities and statistics."""
RealArray = NDArray[np.floating[Any]]
"""Floats of any width."""
IntArray = NDArray[np.integer[Any]]
"""Codes, positions, counts and times, of any width."""
Int8Array = NDArray[np.int8]
Int32Array = NDArray[np.int32]
"""Codes of users and items, and lists of them."""
Int64Array = NDArray[np.int64]
"""Positions, offsets and seconds since 1970."""
BoolArray = NDArray[np.bool_]
ObjectArray = NDArray[np.object_]
"""The shop's own ids, and texts."""
TextArray = NDArray[np.str_]
AnyArray = NDArray[Any]
"""Arrays of mixed types, such as the saved ones of a model."""
