"""A causal language model that recommends: "bought these, then that", by low-rank adapters.

In: lists of products with the newest products of a history (``cross_encoder.Lists``). Out: adapters
of a causal model (LoRA, Hu et al. 2022), how much more likely a history makes a title, and the
model's state after a history, as its vector. Without serving: a request would take seconds on a
CPU. ``benchmarks.text_recommenders`` measures what both bring.

The titles are read as text (P5, Geng et al., RecSys 2022, with ids; TALLRec, Bao et al., RecSys
2023, with adapters), so unsold products have scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.arrays import FloatArray, IntArray
from components.device import best_device, fast_at_bf16
from components.language.batches import whole_passes
from components.language.cross_encoder import Lists
from components.language.families import add_adapters, weights_digest
from components.language.loop import EarlyStopping, train
from components.language.pretraining import fingerprint
from components.progress import progress

TITLE_TOKENS = 32
"""Most tokens of a title."""
IGNORED = -100
"""Label of tokens without a loss: those of the history, and padding."""


class CausalRecommender:
    """A causal model with adapters, over the titles of all products (row = code).

    folder: a causal model that ``save_pretrained`` wrote, such as
    ``packaged_folder("smollm2-135m-instruct")``. rank: of the adapters. seed: of their start, which
    changes nothing of what the model says.
    """

    def __init__(
        self, folder: str | Path, titles: Sequence[str], rank: int = 8, seed: int = 0
    ) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32
        )
        add_adapters(model, set(), rank, seed)
        self.device = best_device()
        self.fast = fast_at_bf16(self.device)
        self.model = model.to(self.device).eval()
        special = self.tokenizer.special_tokens_map
        end = special.get("eos_token") or special.get("sep_token")
        self._weights = f"{weights_digest(str(folder))} {rank}"
        self._end = self.tokenizer.convert_tokens_to_ids(end)
        self._titles = [one[:TITLE_TOKENS] for one in self._ids([f" {one}" for one in titles])]
        self._before, self._between, self._after = self._ids(["Bought:", ";", "\nNext:"])
        self._unconditional: dict[int, float] = {}

    def _ids(self, texts: list[str]) -> list[list[int]]:
        found: list[list[int]] = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return found

    def _prompt(self, past: IntArray) -> list[int]:
        """Return the tokens before the next title. past: int (n,), newest first, then -1."""
        ids = list(self._before)
        for place, code in enumerate(past[past >= 0][::-1]):
            ids += (self._between if place else []) + self._titles[code]
        return ids + self._after

    def loss(self, lists: Lists) -> torch.Tensor:
        """Return the mean loss of the tokens of the products bought, the lists' first ones."""
        rows, labels = [], []
        for past, bought in zip(lists.past, lists.candidates[:, 0], strict=True):
            prompt, title = self._prompt(past), [*self._titles[bought], self._end]
            rows.append(prompt + title)
            labels.append([IGNORED] * len(prompt) + title)
        longest = max(map(len, rows))
        # Padding comes last, so no token that counts attends to it.
        ids = torch.tensor([row + [self._end] * (longest - len(row)) for row in rows])
        wanted = torch.tensor([row + [IGNORED] * (longest - len(row)) for row in labels])
        hidden = self._hidden(ids.to(self.device))[:, :-1]
        there = wanted[:, 1:].to(self.device) != IGNORED
        logits = self.model.get_output_embeddings()(hidden[there]).float()
        return F.cross_entropy(logits, wanted[:, 1:].to(self.device)[there])

    def _hidden(self, ids: torch.Tensor) -> torch.Tensor:
        """Return (rows, length, width): the last layer's states, before the vocabulary."""
        found: torch.Tensor = self.model.base_model(
            input_ids=ids, use_cache=False
        ).last_hidden_state
        return found

    def fit(
        self,
        lists: Lists,
        held_out: Lists,
        steps: int,
        batch_size: int,
        learning_rate: float,
        checkpoint: Path,
        seed: int = 0,
        every: int = 20,
    ) -> list[dict[str, float]]:
        """Train the adapters on the lists' first products and return the log of the losses.

        held_out: lists whose loss is measured before the training's end, every ``every`` steps, as
        ``held_out`` of the log; the adapters with the lowest one are kept. checkpoint: folder that
        a killed training of the same data and settings continues from.
        """
        rows = np.arange(len(lists))
        mark = fingerprint(
            *(self._weights, seed, steps, batch_size, learning_rate, self._titles),
            *(lists.past.tolist(), lists.candidates[:, 0].tolist()),
        )
        log = train(
            self.model,
            lambda step: {
                "next_title": self.loss(lists.take(whole_passes(rows, batch_size, seed, step)))
            },
            *(steps, learning_rate, checkpoint, mark, every, "adapters"),
            EarlyStopping(lambda: self.held_out_loss(held_out, batch_size), every, 0),
        )
        self._unconditional = {}
        return log

    def held_out_loss(self, lists: Lists, batch_size: int = 8) -> float:
        """Return the mean loss of batches of lists, without training."""
        losses = []
        for start in range(0, len(lists), batch_size):
            with self._inference():
                losses.append(self.loss(lists.take(slice(start, start + batch_size))).item())
        return float(np.mean(losses))

    @contextmanager
    def _inference(self) -> Iterator[None]:
        mixed = torch.autocast(self.device.type, torch.bfloat16, enabled=self.fast)
        with torch.inference_mode(), mixed:
            yield

    def score(self, lists: Lists) -> FloatArray:
        """Return float32 (lists, m): log p(title | history) − log p(title); NaN: no candidate.

        The difference takes out what makes a title likely after any history, such as its length
        (domain-conditional PMI, Holtzman et al., EMNLP 2021).
        """
        scores = np.full(lists.candidates.shape, np.nan, dtype=np.float32)
        new = np.setdiff1d(lists.candidates[lists.candidates >= 0], list(self._unconditional))
        for start in range(0, len(new), 64):
            codes = new[start : start + 64]
            found = self._log_likelihood(np.empty(0, dtype=np.int64), codes)
            self._unconditional.update(zip(codes.tolist(), found.tolist(), strict=True))
        for row in progress(range(len(lists)), desc="likelihoods", unit="list"):
            there = lists.candidates[row] >= 0
            codes = lists.candidates[row, there]
            usual = [self._unconditional[code] for code in codes.tolist()]
            scores[row, there] = self._log_likelihood(lists.past[row], codes) - np.array(usual)
        return scores

    def _log_likelihood(self, past: IntArray, codes: IntArray) -> FloatArray:
        """Return float32 (n,): the log-likelihood of each title after the same history.

        The history is read once; the titles continue from its keys and values.
        """
        titles = [[*self._titles[code], self._end] for code in codes.tolist()]
        longest = max(map(len, titles))
        wanted = torch.tensor([one + [IGNORED] * (longest - len(one)) for one in titles])
        wanted = wanted.to(self.device)
        prompt = torch.tensor([self._prompt(past)], device=self.device)
        with self._inference():
            read = self.model(input_ids=prompt, use_cache=True, logits_to_keep=1)
            cache = read.past_key_values
            cache.batch_repeat_interleave(len(titles))
            logits = self.model(
                input_ids=wanted.clamp(min=0)[:, :-1], past_key_values=cache
            ).logits.float()
            first = read.logits.float().expand(len(titles), -1, -1)
            each = F.cross_entropy(
                torch.cat([first, logits], dim=1).transpose(1, 2), wanted, reduction="none"
            )
        return -each.sum(dim=1).cpu().numpy()

    def states(self, past: IntArray) -> FloatArray:
        """Return float32 (histories, width): the state after each history, of length 1.

        past: int (histories, n), newest first, then -1. A product's vector is that of a history of
        it alone.
        """
        prompts = [self._prompt(row) for row in past]
        lengths = np.array([len(one) for one in prompts])
        out = np.zeros((len(prompts), self.model.config.hidden_size), dtype=np.float32)
        order = np.argsort(lengths, kind="stable")
        for start in progress(range(0, len(order), 64), desc="states", unit="batch"):
            rows = order[start : start + 64]
            longest = int(lengths[rows].max())
            ids = [prompts[row] + [self._end] * (longest - lengths[row]) for row in rows]
            with self._inference():
                hidden = self._hidden(torch.tensor(ids, device=self.device)).float()
            last = hidden[torch.arange(len(rows)), torch.from_numpy(lengths[rows] - 1)]
            out[rows] = F.normalize(last, dim=1).cpu().numpy()
        return out
