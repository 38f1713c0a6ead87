"""The device that PyTorch trains and encodes on: a GPU if there is one, else the CPU."""

from __future__ import annotations

import torch


def best_device() -> torch.device:
    """Return the current GPU of this process (CUDA or ROCm), the CPU if it has none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_at_bf16(device: torch.device) -> bool:
    """Return whether ``device`` has bf16 instructions: without them bf16 is slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu.get_capabilities().get("avx512_bf16", False)
