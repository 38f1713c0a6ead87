"""The network as it is asked against the network as it was trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from components.recommenders.models.sasrec.inference import LastState, _gelu
from components.recommenders.models.sasrec.network import Network, right_aligned
from components.settings import Sequential as SequentialSettings


@pytest.mark.parametrize(("layers", "heads", "n_kinds"), [(1, 1, 0), (2, 2, 3), (3, 4, 2)])
def test_the_last_state_is_the_networks(layers: int, heads: int, n_kinds: int) -> None:
    settings = SequentialSettings(dimensions=32, layers=layers, heads=heads, max_length=12)
    torch.manual_seed(layers)
    network = Network(settings, torch.randn(50, 8), n_kinds=n_kinds).eval()
    with torch.no_grad():
        for weight in network.parameters():  # nothing as it begins: no bias 0, no scale 1
            weight.add_(0.2 * torch.randn_like(weight))
        vectors = network.item_vectors(torch.ones(50, dtype=torch.bool))
        random = np.random.default_rng(0)
        lengths = np.array([1, 2, 7, 12, 5])
        stops = np.cumsum(lengths + 3)  # each history has older events, too
        items = random.integers(0, 50, stops[-1]).astype(np.int32)
        kinds = random.integers(0, max(n_kinds, 1), stops[-1])
        inputs = [right_aligned(values, stops, lengths) for values in (items, kinds)]
        expected = network(inputs[0], vectors, inputs[1])[:, -1]
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    ask = LastState(weights, layers)
    read = kinds if n_kinds else None
    found = ask(items, stops, lengths, vectors.numpy(), read)
    assert found == pytest.approx(expected.numpy(), abs=2e-5)
    nobody = ask(items, stops[:2], np.array([0, 2]), vectors.numpy(), read)
    assert (nobody[0] == 0).all()
    assert nobody[1] == pytest.approx(found[1], abs=1e-6)


def test_gelu_is_pytorchs() -> None:
    x = np.concatenate([np.linspace(-9, 9, 4001), [-1e4, 1e4, 0.0]]).astype(np.float32)[None]
    expected = F.gelu(torch.from_numpy(x)).numpy()
    _gelu(x)
    assert x == pytest.approx(expected, rel=2e-6, abs=1e-5)
