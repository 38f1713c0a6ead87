"""One training loop for pre-training and fine-tuning: warm-up, log, checkpoints that resume.

A checkpoint holds weights, optimiser moments, the log and the best weights so far, as safetensors
and JSON, with the fingerprint of the training: a checkpoint of other data or settings is not
resumed.

It runs on one device or, started by ``torchrun`` or ``accelerate launch``, in many processes: each
computes the losses of its part of a step, and the gradients are averaged.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file

from components.device import fast_at_bf16
from components.distributed import average, average_gradients, open_accelerator
from components.progress import progress

WARM_UP = 0.1  # share of the steps
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
Precision = Literal["auto", "fp32", "bf16"]
Losses = dict[str, torch.Tensor]
Named = list[tuple[str, torch.nn.Parameter]]


@dataclass(frozen=True)
class EarlyStopping:
    """Early stopping on held-out data.

    measure: returns the value to minimise; it is called every ``every`` steps and after the last.
    patience: evaluations without a new best value after which the training stops, 0 = never. The
    best weights are restored.
    """

    measure: Callable[[], float]
    every: int
    patience: int


def low_precision(device: torch.device, precision: Precision) -> bool:
    """Return whether to compute in bf16: as ``precision`` says, or if ``device`` is fast at it."""
    return precision == "bf16" or (precision == "auto" and fast_at_bf16(device))


def train(
    model: torch.nn.Module,
    step_losses: Callable[[int], Losses | Iterable[Losses]],
    steps: int,
    learning_rate: float,
    folder: Path,
    fingerprint: str,
    checkpoint_every: int,
    title: str,
    early_stopping: EarlyStopping | None = None,
    precision: Precision = "auto",
) -> list[dict[str, float]]:
    """Train ``model`` for ``steps`` and return the log, one record a step.

    step_losses: the losses of step n by name, whose sum is minimised; or, for gradient
    accumulation, the losses of its micro-batches one after the other. It must depend on n (and the
    process) only. A record has ``held_out`` if ``early_stopping`` evaluated the model after that
    step.
    """
    accelerator = open_accelerator()
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    device = trained[0][1].device
    parameters = [p for _, p in trained]
    # On a CPU the fused update reads each weight once: a step of it takes a fifth of the time.
    fused = device.type == "cpu"
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.01, fused=fused)
    log, best = _resume(optimiser, trained, folder, fingerprint)
    model.train()
    bar = progress(
        range(len(log), steps), initial=len(log), total=steps, desc=title, unit="step",
        disable=not accelerator.is_main_process,
    )  # fmt: skip
    for step in bar:
        if early_stopping and _waited(log, early_stopping.patience):
            break
        warm = min(1.0, (step + 1) / max(1, WARM_UP * steps))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min(warm, (steps - step) / (steps * (1 - WARM_UP)))
        # Dropout also depends on the step, and differs between processes.
        torch.manual_seed(step * accelerator.num_processes + accelerator.process_index)
        optimiser.zero_grad()
        values: dict[str, float] = {}
        with torch.autocast(device.type, torch.bfloat16, enabled=low_precision(device, precision)):
            found = step_losses(step)
            for parts in [found] if isinstance(found, dict) else found:
                torch.stack(list(parts.values())).sum().backward()
                values = {name: values.get(name, 0.0) + part.item() for name, part in parts.items()}
        average_gradients(accelerator, parameters)
        values = average(accelerator, values)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        log.append({"step": step, "loss": sum(values.values()), **values})
        bar.set_postfix(loss=f"{log[-1]['loss']:.3f}")
        if early_stopping and ((step + 1) % early_stopping.every == 0 or step + 1 == steps):
            log[-1]["held_out"] = early_stopping.measure()
            model.train()
            if log[-1]["held_out"] == min(record.get("held_out", torch.inf) for record in log):
                best = {name: p.detach().clone() for name, p in trained}
        if (step + 1) % checkpoint_every == 0 and step + 1 < steps:
            if accelerator.is_main_process:
                _save(optimiser, trained, folder, fingerprint, log, best)
            accelerator.wait_for_everyone()
    with torch.no_grad():
        for name, p in trained if best else []:
            p.copy_(best[name])
    model.eval()
    return log


def _waited(log: list[dict[str, float]], patience: int) -> bool:
    """Return whether the last ``patience`` evaluations found no new best value."""
    looks = [record["held_out"] for record in log if "held_out" in record]
    return 0 < patience < len(looks) and min(looks[-patience:]) >= min(looks[:-patience])


def _save(
    optimiser: torch.optim.Optimizer,
    trained: Named,
    folder: Path,
    fingerprint: str,
    log: list[dict[str, float]],
    best: dict[str, torch.Tensor],
) -> None:
    partial = folder.with_name(f".{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tensors = {f"weight/{name}": p.detach() for name, p in trained}
    tensors |= {f"best/{name}": tensor for name, tensor in best.items()}
    for name, p in trained:
        for key, value in optimiser.state.get(p, {}).items():
            tensors[f"{key}/{name}"] = value.detach()
    copies = {name: tensor.cpu().clone() for name, tensor in tensors.items()}
    save_file(copies, partial / "state.safetensors")
    (partial / "log.json").write_text(json.dumps({"fingerprint": fingerprint, "log": log}))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _resume(
    optimiser: torch.optim.Optimizer, trained: Named, folder: Path, fingerprint: str
) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Resume the checkpoint of ``folder`` if its fingerprint is the same; return its log and the
    best weights so far."""
    mark = folder / "log.json"
    if not mark.exists():
        folder.mkdir(parents=True, exist_ok=True)
        return [], {}
    saved = json.loads(mark.read_text())
    if saved["fingerprint"] != fingerprint:
        return [], {}
    tensors = load_file(folder / "state.safetensors")
    best = {}
    with torch.no_grad():
        for name, p in trained:
            p.copy_(tensors[f"weight/{name}"])
            if f"best/{name}" in tensors:
                best[name] = tensors[f"best/{name}"].to(p.device)
            state = {key: tensors[f"{key}/{name}"] for key in MOMENTS if f"{key}/{name}" in tensors}
            if state:
                optimiser.state[p] = {
                    key: value if key == "step" else value.to(p.device)
                    for key, value in state.items()
                }
    return saved["log"], best


def ends(log: list[dict[str, float]]) -> tuple[float, float]:
    """Return the mean loss of the first and of the last tenth of the steps."""
    n = max(1, len(log) // 10)
    losses = [record["loss"] for record in log]
    return sum(losses[:n]) / n, sum(losses[-n:]) / n
