"""A GPU that is pretended on the CPU, to find tensors on the wrong device without a card.

A tensor that is moved to "cuda", or made there, is a CPU tensor with a mark. What PyTorch refuses
on a real GPU is refused: an operation on tensors with and without the mark (numbers, tensors of no
dimension, excepted) and NumPy's view of a marked one. Values are computed as ever. Autograd's own
calculations are not seen.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda:0")
FACTORIES = {"arange", "empty", "from_numpy", "full", "ones", "rand", "randint", "tensor", "zeros"}
ANY_DEVICE = {"copy_", "_has_compatible_shallow_copy_type"}
"""What takes tensors of both devices."""


def marked(tensor: torch.Tensor) -> bool:
    return getattr(tensor, "pretended", False)


def mark(tensor: torch.Tensor, there: bool) -> torch.Tensor:
    tensor.pretended = there  # type: ignore[attr-defined]
    return tensor


class PretendedGPU(TorchFunctionMode):
    """While it is entered, "cuda" is the pretended GPU. calls: operations on its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        if name in ("__get__", "__set__"):
            return self._attribute(function, args)
        if name in ("to", "cpu", "cuda") and isinstance(args[0], torch.Tensor):
            return self._moved(name, *args, **kwargs)
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        there = any(marked(tensor) for tensor in tensors)
        if there and name in ("numpy", "__array__"):
            raise TypeError("can't convert a tensor on cuda:0 to numpy")
        away = [one for one in tensors if not marked(one) and one.dim()]
        if there and away and name not in ANY_DEVICE:
            shapes = [tuple(one.shape) for one in away]
            raise RuntimeError(f"{name}: tensors on cuda:0, and on the CPU of shapes {shapes}")
        self.calls += there
        if kwargs.get("device") is not None:
            there = torch.device(kwargs["device"]).type == "cuda"
            kwargs["device"] = "cpu" if there else kwargs["device"]
        elif name in FACTORIES:
            there = False
        found = function(*args, **kwargs)
        if there and name not in ANY_DEVICE:
            for one in tree_leaves(found):
                if isinstance(one, torch.Tensor):
                    mark(one, True)
        return found

    @staticmethod
    def _attribute(function: Any, arguments: tuple[Any, ...]) -> Any:
        """Read or set an attribute of a tensor."""
        tensor, attribute = arguments[0], function.__self__.__name__
        if attribute in ("device", "is_cuda") and marked(tensor):
            return CUDA if attribute == "device" else True
        found = function(*arguments)
        if attribute == "data" and len(arguments) == 2 and isinstance(arguments[1], torch.Tensor):
            mark(tensor, marked(arguments[1]))
        return mark(found, marked(tensor)) if isinstance(found, torch.Tensor) else found

    @staticmethod
    def _moved(name: str, tensor: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
        """Return ``tensor.to``, ``tensor.cpu`` or ``tensor.cuda`` of the arguments."""
        places = [one for one in rest if isinstance(one, (str, torch.device, torch.Tensor))]
        place = options.pop("device", None) or (places[0] if places else None)
        if name != "to":
            place = name
        if isinstance(place, torch.Tensor):
            place = place.device
        there = marked(tensor) if place is None else torch.device(place).type == "cuda"
        kinds = [one for one in rest if isinstance(one, torch.dtype)]
        found = tensor.to(*kinds, **options) if kinds or options else tensor
        if there != marked(tensor):
            found = found.clone()  # in other memory
        return found if found is tensor else mark(found, there)
