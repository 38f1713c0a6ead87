"""Inference of SASRec: the state after the newest event of each history, in one compiled call.

In: histories, item vectors, and the weights that ``network.Network`` was trained with. The same
network without padding and, in its last layer, without the outputs of earlier events. For a few
histories the fifty or so calls of PyTorch take many times as long.

Our own: 1.9 times as fast as the same network in ONNX Runtime, and the weights need no export
(``python -m benchmarks.own_or_library sequence``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from components.arrays import FloatArray, IntArray
from components.recommenders.kernels.jit import compiled

_PARTS = (
    *("norm_attention.weight", "norm_attention.bias"),
    *("query_key_value.weight", "query_key_value.bias", "distance", "out.weight", "out.bias"),
    *("norm_perceptron.weight", "norm_perceptron.bias"),
    *("up.weight", "up.bias", "down.weight", "down.bias"),
)
EPSILON = 1e-5
"""LayerNorm's, in PyTorch."""
NO_KINDS = np.empty(0, dtype=np.int64)


class LastState:
    """The trained network for inference: ``weights`` are those of ``Network``, by name."""

    def __init__(self, weights: Mapping[str, FloatArray], layers: int) -> None:
        self._layers = [
            # (layers, …), matrices turned so that a row of states is multiplied from the left
            np.ascontiguousarray(
                np.stack(
                    [
                        weights[f"blocks.{layer}.{part}"].T
                        if part.endswith(".weight") and weights[f"blocks.{layer}.{part}"].ndim == 2
                        else weights[f"blocks.{layer}.{part}"]
                        for layer in range(layers)
                    ]
                ),
                dtype=np.float32,
            )
            for part in _PARTS
        ]
        self._norm = [np.ascontiguousarray(weights[f"norm.{part}"]) for part in ("weight", "bias")]
        none = np.empty((0, len(self._norm[0])), dtype=np.float32)
        self._kinds = np.ascontiguousarray(weights.get("kinds", none))

    def __call__(
        self,
        items: IntArray,
        stops: IntArray,
        lengths: IntArray,
        vectors: FloatArray,
        kinds: IntArray | None = None,
    ) -> FloatArray:
        """Return float32 (batch, d) unit vectors; 0 for a history without events.

        Row b is of the ``lengths[b]`` items before place ``stops[b]`` of ``items``. vectors:
        float32 (items, d). kinds: int64 (events,), if the network has kinds.
        """
        states = np.zeros((len(stops), vectors.shape[1]), dtype=np.float32)
        kinds = NO_KINDS if kinds is None else kinds
        inputs = (items, stops, lengths, vectors, kinds, self._kinds)
        _fill(*inputs, *self._layers, *self._norm, states)
        return states


@compiled
def _fill(  # type: ignore[no-untyped-def]
    items,
    stops,
    lengths,
    vectors,
    kinds,
    kind_vectors,
    attention_scale,
    attention_shift,
    mix,
    mix_bias,
    distance,
    out,
    out_bias,
    perceptron_scale,
    perceptron_shift,
    up,
    up_bias,
    down,
    down_bias,
    last_scale,
    last_shift,
    states,
):
    layers, d = attention_scale.shape
    for row in range(len(stops)):
        n = lengths[row]
        if n == 0:
            continue
        x = np.empty((n, d), np.float32)  # (events, d)
        # Loops, because assignments to a row take longer to compile.
        for at in range(n):
            event = stops[row] - n + at
            vector = vectors[items[event]]
            for column in range(d):
                x[at, column] = vector[column] * np.float32(math.sqrt(d))
            if len(kind_vectors):
                kind = kind_vectors[kinds[event]]
                for column in range(d):
                    x[at, column] += kind[column]
        for layer in range(layers):
            parts = np.dot(_normed(x, attention_scale[layer], attention_shift[layer]), mix[layer])
            parts += mix_bias[layer]  # (events, 3 d): queries, keys, values
            if layer == layers - 1:
                x = x[n - 1 :]  # the last layer needs no others
            seen = _attended(parts, distance[layer], len(x))
            x = x + np.dot(seen, out[layer]) + out_bias[layer]
            inner = np.dot(_normed(x, perceptron_scale[layer], perceptron_shift[layer]), up[layer])
            inner += up_bias[layer]
            _gelu(inner)
            x = x + np.dot(inner, down[layer]) + down_bias[layer]
        state = _normed(x, last_scale, last_shift)[0]
        length = np.float32(0)
        for value in state:
            length += value * value
        length = max(np.sqrt(length), np.float32(1e-12))
        for column in range(d):
            states[row, column] = state[column] / length


@compiled
def _normed(x, scale, shift):  # type: ignore[no-untyped-def]
    """Return LayerNorm of each row."""
    normed = np.empty_like(x)
    for at in range(len(x)):
        total, squares = np.float32(0), np.float32(0)
        for value in x[at]:
            total += value
        mean = total / np.float32(len(scale))
        for value in x[at]:
            squares += (value - mean) * (value - mean)
        spread = np.sqrt(squares / np.float32(len(scale)) + np.float32(EPSILON))
        for column in range(len(scale)):
            normed[at, column] = (x[at, column] - mean) / spread * scale[column] + shift[column]
    return normed


@compiled
def _attended(parts, distance, n_last):  # type: ignore[no-untyped-def]
    """Return (n_last, d): attention of the last ``n_last`` events to all up to them."""
    n, d = len(parts), parts.shape[1] // 3
    heads = len(distance)
    width = d // heads
    seen = np.zeros((n_last, d), np.float32)
    chance = np.empty(n, np.float32)
    scale = np.float32(1 / math.sqrt(width))
    for head in range(heads):
        queries = head * width
        keys, values = queries + d, queries + 2 * d
        for row in range(n_last):
            at = n - n_last + row
            highest = np.float32(-np.inf)
            for other in range(at + 1):
                dot = np.float32(0)
                for column in range(width):
                    dot += parts[at, queries + column] * parts[other, keys + column]
                chance[other] = dot * scale + distance[head, at - other]
                highest = max(highest, chance[other])
            total = np.float32(0)
            for other in range(at + 1):
                chance[other] = np.exp(chance[other] - highest)
                total += chance[other]
            for other in range(at + 1):
                share = chance[other] / total
                for column in range(width):
                    seen[row, queries + column] += share * parts[other, values + column]
    return seen


@compiled
def _gelu(x):  # type: ignore[no-untyped-def]
    """Replace x by x · Φ(x), the error function by a quotient of polynomials (error < 2e-6),
    which the compiler vectorises. Coefficients: Eigen's for float32."""
    f = np.float32
    for row in range(len(x)):
        own = x[row]
        for at in range(len(own)):
            z = min(max(own[at] * f(0.70710678), f(-4)), f(4))
            s = z * z
            p = f(-2.72614225801306e-10)
            p = p * s + f(2.77068142495902e-08)
            p = p * s + f(-2.10102402082508e-06)
            p = p * s + f(-5.69250639462346e-05)
            p = p * s + f(-7.34990630326855e-04)
            p = p * s + f(-2.95459980854025e-03)
            p = p * s + f(-1.60960333262415e-02)
            q = f(-1.45660718464996e-05)
            q = q * s + f(-2.13374055278905e-04)
            q = q * s + f(-1.68282697438203e-03)
            q = q * s + f(-7.37332916720468e-03)
            q = q * s + f(-1.42647390514189e-02)
            own[at] *= f(0.5) + f(0.5) * z * p / q
