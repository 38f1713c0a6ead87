"""BERT-like encoders quantised to int8 on the CPU, several times as fast as in PyTorch.

In: a model of transformers. Out: a session of ONNX Runtime, for its fused kernels and int8 matrix
products (AVX-512 VNNI). The graph is small, so it is built here without an exporter.

Weights have one scale per column, activations one dynamic scale per batch. Large values in a few
coordinates of the activations are therefore moved into the weights first (SmoothQuant: Xiao et al.,
ICML 2023), and the widest activations of each token are divided by their largest value, by which
the product is multiplied again.

The vectors have a mean cosine of 0.99 to those of full precision. Whitening amplifies the
remaining difference, more in smaller catalogues, so int8 must be set explicitly.

Our own: ONNX Runtime's ``quantize_dynamic``, which does not smooth, is faster but loses twice as
many of the nearest products, at a cosine of 0.95 (``python -m benchmarks.own_or_library int8``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from transformers import PreTrainedModel

from components.arrays import AnyArray, FloatArray, IntArray

MICROSOFT = "com.microsoft"
FAMILIES = ("bert", "roberta")
SMOOTHING = 0.7
"""Share of the activations' range that is moved into the weights: 0 none, 1 all."""
PROBES = 16, 32
"""Number and length of the random texts from which the activations' ranges are measured."""


def fits(model: PreTrainedModel) -> bool:
    """Return whether this module supports ``model`` and the CPU is fast at int8."""
    c = model.config
    return (
        torch.cpu.get_capabilities().get("avx512_vnni", False)
        and c.model_type in FAMILIES
        and c.hidden_act == "gelu"
        and getattr(c, "position_embedding_type", "absolute") == "absolute"
        and not getattr(c, "is_decoder", False)
    )


class Int8Encoder:
    """Means of the last layer over the tokens of texts.

    Raises:
        ValueError: ``model`` is of another family, or the CPU lacks the instructions.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        if not fits(model):
            raise ValueError(
                f"encode.precision: int8 is for {' and '.join(FAMILIES)} models on a CPU with "
                f"AVX-512 VNNI (this one: {model.config.model_type}); use auto, bf16 or fp32"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(
            graph(model), options, providers=["CPUExecutionProvider"]
        )

    def means(self, ids: IntArray, lengths: IntArray) -> FloatArray:
        """Return float32 (texts, width). ids: int32 (texts, longest), padded at the end."""
        there = np.arange(ids.shape[1]) < lengths[:, None]
        weights = (there / lengths[:, None]).astype(np.float32)[:, None]
        given = {"ids": ids, "lengths": lengths.astype(np.int32), "weights": weights}
        return self.session.run(None, given)[0][:, 0]


def ranges(model: Any) -> dict[str, FloatArray]:
    """Return the largest absolute value of each input coordinate of the products, by name."""
    found: dict[str, torch.Tensor] = {}

    def watch(name: str) -> Any:
        def look(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            found[name] = given[0].abs().flatten(0, -2).amax(dim=0)

        return look

    hooks = []
    for n, layer in enumerate(model.encoder.layer):
        hooks.append(layer.attention.self.query.register_forward_pre_hook(watch(f"{n}.attention")))
        hooks.append(layer.intermediate.dense.register_forward_pre_hook(watch(f"{n}.wide")))
    top = model.config.vocab_size
    with torch.inference_mode():  # a vocabulary begins with punctuation and single letters
        pieces = np.random.default_rng(0).integers(top // 10, top, PROBES)
        model(input_ids=torch.from_numpy(pieces))
    for hook in hooks:
        hook.remove()
    return {name: one.float().numpy() for name, one in found.items()}


@dataclass
class _Graph:
    ranges: dict[str, FloatArray]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def constant(self, name: str, value: AnyArray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(
        self, kind: str, given: list[str], out: str, domain: str = MICROSOFT, **more: Any
    ) -> str:
        self.nodes.append(helper.make_node(kind, given, out.split(), domain=domain, **more))
        return out.split()[0]

    def smoothed(self, x: str, weight: FloatArray, name: str) -> tuple[str, FloatArray]:
        """Return input and weight (in, out), with the input's large coordinates moved to the
        weight."""
        if name not in self.ranges:
            return x, weight
        own = np.maximum(np.abs(weight).max(axis=1), 1e-5)
        by = np.maximum(self.ranges[name], 1e-5) ** SMOOTHING / own ** (1 - SMOOTHING)
        by = (by / np.exp(np.log(by).mean())).astype(np.float32)
        smooth = self.node("Mul", [x, self.constant(f"{name}.by", 1 / by)], f"{name}.in", "")
        return smooth, weight * by[:, None]

    def integers(self, weight: FloatArray, name: str) -> list[str]:
        """Return the names of the weight (in, out) as int8, its scales and its zero points."""
        scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / 127
        return [
            self.constant(f"{name}.int8", np.round(weight / scale).astype(np.int8)),
            self.constant(f"{name}.scale", scale.astype(np.float32)),
            self.constant(f"{name}.zero", np.zeros(len(scale), dtype=np.int8)),
        ]

    def linear(self, x: str, layer: torch.nn.Linear, name: str) -> str:
        x, weight = self.smoothed(x, _numpy(layer.weight).T, name)
        bias = self.constant(f"{name}.bias", _numpy(layer.bias))
        return self.node("DynamicQuantizeMatMul", [x, *self.integers(weight, name), bias], name)

    def narrow(self, x: str, layer: torch.nn.Linear, name: str) -> str:
        """Return the output of ``layer`` for each token of ``x`` (GELU's output), without the
        bias."""
        # GELU is never less than -0.17, so the divisor is positive.
        floor = self.constant(f"{name}.floor", np.float32(0.2).reshape(1))
        largest = self.node("ReduceMax", [x], f"{name}.largest", "", axes=[-1])
        size = self.node("Add", [largest, floor], f"{name}.size", "")
        even = self.node("Div", [x, size], f"{name}.even", "")
        given = [even, *self.integers(_numpy(layer.weight).T, name)]
        return self.node(
            "Mul", [self.node("DynamicQuantizeMatMul", given, f"{name}.product"), size], name, ""
        )

    def attention(self, x: str, own: Any, heads: int, name: str) -> str:
        parts = own.query, own.key, own.value
        weight = np.concatenate([_numpy(part.weight) for part in parts]).T
        bias = self.constant(f"{name}.bias", np.concatenate([_numpy(part.bias) for part in parts]))
        x, weight = self.smoothed(x, weight, name)
        quantised = [f"{name}.{part}" for part in ("x", "x_scale", "x_zero")]
        self.node("DynamicQuantizeLinear", [x], " ".join(quantised), "")
        table, scale, zero = self.integers(weight, name)
        x, x_scale, x_zero = quantised
        given = [x, table, bias, x_scale, scale, "lengths", x_zero, zero]
        return self.node("QAttention", given, name, num_heads=heads)

    def norm(
        self, kind: str, given: list[str], layer: torch.nn.LayerNorm, out: str, *more: str
    ) -> str:
        name = out.split()[0]
        scale = self.constant(f"{name}.gamma", _numpy(layer.weight))
        shift = self.constant(f"{name}.beta", _numpy(layer.bias))
        return self.node(kind, [*given, scale, shift, *more], out, epsilon=layer.eps)


def graph(model: Any) -> bytes:
    """Return the ONNX graph of ``model``: ids and lengths of texts → means, (texts, 1, width)."""
    c, g = model.config, _Graph(ranges(model))
    own = model.embeddings
    # RoBERTa's positions start after its padding token.
    first = c.pad_token_id + 1 if c.model_type == "roberta" else 0
    places = _numpy(own.position_embeddings.weight)[first:]
    places = places + _numpy(own.token_type_embeddings.weight)[0]
    words = g.constant("words", _numpy(own.word_embeddings.weight))
    tables = ["ids", "", words, g.constant("places", places), ""]
    x = g.norm("EmbedLayerNormalization", tables, own.LayerNorm, "embedded unused")
    for n, layer in enumerate(model.encoder.layer):
        seen = g.attention(x, layer.attention.self, c.num_attention_heads, f"{n}.attention")
        mixed = g.linear(seen, layer.attention.output.dense, f"{n}.mixed")
        x = g.norm(
            "SkipLayerNormalization", [mixed, x], layer.attention.output.LayerNorm, f"{n}.seen"
        )
        wide = g.node("Gelu", [g.linear(x, layer.intermediate.dense, f"{n}.wide")], f"{n}.gelu")
        narrow = g.narrow(wide, layer.output.dense, f"{n}.narrow")
        bias = g.constant(f"{n}.narrow.bias", _numpy(layer.output.dense.bias))
        x = g.norm("SkipLayerNormalization", [narrow, x], layer.output.LayerNorm, f"{n}.out", bias)
    g.node("MatMul", ["weights", x], "means", "")
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT32, ["texts", "longest"]),
        helper.make_tensor_value_info("lengths", TensorProto.INT32, ["texts"]),
        helper.make_tensor_value_info("weights", TensorProto.FLOAT, ["texts", 1, "longest"]),
    ]
    means = helper.make_tensor_value_info("means", TensorProto.FLOAT, ["texts", 1, c.hidden_size])
    built = helper.make_model(
        helper.make_graph(g.nodes, "encoder", inputs, [means], g.constants),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)],
        ir_version=8,
    )
    return built.SerializeToString()


def _numpy(tensor: torch.Tensor) -> FloatArray:
    return tensor.detach().float().numpy()
