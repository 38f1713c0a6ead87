"""One training loop for pre-training and fine-tuning: warm-up, log, checkpoints that resume.

A checkpoint holds weights, optimiser moments and the log, as safetensors and JSON, and bears the
fingerprint of what it was trained on: one of other data or settings is not taken up.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tqdm import trange

WARM_UP = 0.1  # share of the steps


def train(
    model: torch.nn.Module,
    step_losses: Callable[[int], dict[str, torch.Tensor]],
    steps: int,
    learning_rate: float,
    folder: Path,
    fingerprint: str,
    checkpoint_every: int,
    title: str,
) -> list[dict[str, float]]:
    """Train ``model`` for ``steps`` and return the log, one record a step.

    step_losses: the losses of step n by name; their sum is minimised. It must depend on n alone.
    """
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW([p for _, p in trained], lr=learning_rate, weight_decay=0.01)
    log = _resume(model, optimiser, trained, folder, fingerprint)
    model.train()
    bar = trange(len(log), steps, initial=len(log), total=steps, desc=title, unit="step")
    for step in bar:
        warm = min(1.0, (step + 1) / max(1, WARM_UP * steps))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min(warm, (steps - step) / (steps * (1 - WARM_UP)))
        torch.manual_seed(step)  # dropout, too, is the step's own
        with torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported()):
            parts = step_losses(step)
        loss = torch.stack(list(parts.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in trained], 1.0)
        optimiser.step()
        values = {name: part.item() for name, part in parts.items()}
        log.append({"step": step, "loss": sum(values.values()), **values})
        bar.set_postfix(loss=f"{log[-1]['loss']:.3f}")
        if (step + 1) % checkpoint_every == 0 and step + 1 < steps:
            _save(model, optimiser, trained, folder, fingerprint, log)
    model.eval()
    return log


def _save(model, optimiser, trained, folder, fingerprint, log) -> None:  # type: ignore[no-untyped-def]
    partial = folder.with_name(f".{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tensors = {f"weight/{name}": p.detach().clone() for name, p in trained}
    for name, p in trained:
        for key, value in optimiser.state.get(p, {}).items():
            tensors[f"{key}/{name}"] = value.detach().clone()
    save_file(tensors, partial / "state.safetensors")
    (partial / "log.json").write_text(json.dumps({"fingerprint": fingerprint, "log": log}))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _resume(model, optimiser, trained, folder, fingerprint) -> list[dict[str, float]]:  # type: ignore[no-untyped-def]
    """Take up the checkpoint of ``folder`` if it is of this training; return its log."""
    mark = folder / "log.json"
    if not mark.exists():
        folder.mkdir(parents=True, exist_ok=True)
        return []
    saved = json.loads(mark.read_text())
    if saved["fingerprint"] != fingerprint:
        return []
    tensors = load_file(folder / "state.safetensors")
    with torch.no_grad():
        for name, p in trained:
            p.copy_(tensors[f"weight/{name}"])
            keys = ("step", "exp_avg", "exp_avg_sq")
            state = {key: tensors[f"{key}/{name}"] for key in keys if f"{key}/{name}" in tensors}
            if state:
                optimiser.state[p] = state
    return saved["log"]


def ends(log: list[dict[str, float]]) -> tuple[float, float]:
    """Return the mean loss of the first and of the last tenth of the steps."""
    n = max(1, len(log) // 10)
    losses = [record["loss"] for record in log]
    return sum(losses[:n]) / n, sum(losses[-n:]) / n
