"""Training in several processes, which ``torchrun`` or ``accelerate launch`` starts.

Each process computes the gradients of its part of a step, and the gradients are averaged: by gloo
on CPUs, by NCCL on GPUs, of which each process has one. The first process alone writes files; all
read them, so on several machines they need one folder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # they take seconds to import, and most stages need neither
    import torch
    from accelerate import Accelerator


def n_processes() -> int:
    """Return the number of processes that the launcher started, 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Return whether this is the process that writes files: the first, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


def open_accelerator() -> Accelerator:
    """Return the accelerator of this process, whose GPU is the current one from now on.

    Accelerate treats CPU-only processes as independent, each of them the main one, unless it is
    created with ``cpu=True``.
    """
    import torch
    from accelerate import Accelerator

    return Accelerator(cpu=not torch.accelerator.is_available())


def check_same(accelerator: Accelerator, value: object, differs: str) -> None:
    """Raise ``ValueError`` with the message ``differs`` where the processes have other values."""
    if accelerator.num_processes == 1:
        return
    from accelerate.utils import gather_object

    values = gather_object([value])
    if any(one != values[0] for one in values):
        raise ValueError(differs)


def average_gradients(accelerator: Accelerator, parameters: Sequence[torch.nn.Parameter]) -> None:
    """Average the gradients of ``parameters`` over the processes, in place."""
    if accelerator.num_processes == 1:
        return
    import torch

    # A parameter without a gradient here may have one in another process, so all are sent.
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([grad.flatten() for grad in found])  # one message
    mean = accelerator.reduce(flat, "mean").split([p.numel() for p in parameters])
    for p, part in zip(parameters, mean, strict=True):
        p.grad = part.view_as(p)


def average(accelerator: Accelerator, values: dict[str, float]) -> dict[str, float]:
    """Return the means of ``values`` over the processes, which have the same names."""
    if accelerator.num_processes == 1:
        return values
    import torch

    found = torch.tensor(list(values.values()), device=accelerator.device)
    return dict(zip(values, accelerator.reduce(found, "mean").tolist(), strict=True))
