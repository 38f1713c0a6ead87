"""The losses against PyTorch's own cross-entropy."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from components.recommenders.kernels.losses import sampled_softmax_loss, softmax_loss


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_chunked_loss_is_cross_entropy_with_its_gradients(chunk: int) -> None:
    random = torch.Generator().manual_seed(0)
    hidden = torch.randn(23, 8, generator=random, requires_grad=True)
    vectors = torch.randn(50, 8, generator=random, requires_grad=True)
    targets = torch.randint(50, (23,), generator=random)
    exact = F.cross_entropy(hidden @ vectors.T, targets)
    wanted = torch.autograd.grad(3 * exact, (hidden, vectors))
    loss = softmax_loss(hidden, vectors, targets, chunk=chunk)
    found = torch.autograd.grad(3 * loss, (hidden, vectors))
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_chunked_loss_in_bf16_is_near_and_keeps_the_types() -> None:
    random = torch.Generator().manual_seed(1)
    hidden = torch.randn(64, 16, generator=random, requires_grad=True)
    vectors = torch.randn(90, 16, generator=random, requires_grad=True)
    targets = torch.randint(90, (64,), generator=random)
    exact = torch.autograd.grad(F.cross_entropy(hidden @ vectors.T, targets), (hidden, vectors))
    loss = softmax_loss(hidden, vectors, targets, torch.bfloat16)
    found = torch.autograd.grad(loss, (hidden, vectors))
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == torch.float32
        assert F.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.999


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_sampled_softmax_is_cross_entropy_over_the_sample(chunk: int, weighted: bool) -> None:
    random = torch.Generator().manual_seed(5)
    hidden = torch.randn(23, 8, generator=random, requires_grad=True)
    positive = torch.randn(23, 8, generator=random, requires_grad=True)
    negative = torch.randn(40, 8, generator=random, requires_grad=True)
    targets = torch.randint(12, (23,), generator=random)
    drawn = torch.randint(12, (40,), generator=random)  # some twice, targets among them
    shift = torch.randn(40, generator=random)
    weights = torch.rand(23, generator=random) if weighted else torch.ones(23)
    others = (hidden @ negative.T - shift).masked_fill(drawn == targets[:, None], -torch.inf)
    logits = torch.cat([(hidden * positive).sum(dim=1)[:, None], others], dim=1)
    losses = F.cross_entropy(logits, torch.zeros_like(targets), reduction="none")
    exact = losses @ weights / weights.sum()
    inputs = (hidden, positive, negative)
    wanted = torch.autograd.grad(3 * exact, inputs)
    loss = sampled_softmax_loss(
        *inputs, targets, drawn, shift, weights if weighted else None, chunk=chunk
    )
    found = torch.autograd.grad(3 * loss, inputs)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("fitted", [0.0, 11.0])
def test_sampled_softmax_in_bf16_is_near(fitted: float) -> None:
    """Also where the targets are nearly sure, and their errors small."""
    random = torch.Generator().manual_seed(6)
    hidden = torch.randn(64, 16, generator=random)
    hidden /= hidden.norm(dim=1, keepdim=True)
    negative = torch.randn(300, 16, generator=random)
    negative /= negative.norm(dim=1, keepdim=True)
    positive = hidden * (1 + fitted)
    inputs = [one.requires_grad_() for one in (hidden, positive, negative)]
    targets, drawn = torch.arange(64), torch.arange(1000, 1300)
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        loss = sampled_softmax_loss(*inputs, targets, drawn, torch.zeros(300), dtype=dtype)
        found[dtype] = (loss, *torch.autograd.grad(loss, inputs))
    for one, other in zip(*found.values(), strict=True):
        assert one.dtype == other.dtype
        assert other.norm().item() == pytest.approx(one.norm().item(), rel=0.05)
        assert F.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.995


def test_sampled_softmax_of_every_other_item_is_the_full_one() -> None:
    random = torch.Generator().manual_seed(2)
    hidden = torch.randn(9, 8, generator=random)
    vectors = torch.randn(30, 8, generator=random)
    targets = torch.randint(30, (9,), generator=random)
    everything = torch.arange(30)  # each once: expected once, nothing to correct
    found = sampled_softmax_loss(
        hidden, vectors[targets], vectors, targets, everything, torch.zeros(30)
    )
    assert found.item() == pytest.approx(F.cross_entropy(hidden @ vectors.T, targets).item())


def test_sampled_softmax_comes_to_the_full_one_whatever_the_draws_prefer() -> None:
    random = torch.Generator().manual_seed(3)
    hidden = torch.randn(200, 8, generator=random)
    vectors = torch.randn(50, 8, generator=random)
    targets = torch.randint(50, (200,), generator=random)
    full = F.cross_entropy(hidden @ vectors.T, targets).item()
    share = torch.arange(1.0, 51.0) / torch.arange(1.0, 51.0).sum()
    gaps = {}
    for m in (20, 20_000):
        drawn = torch.multinomial(share, m, replacement=True, generator=random)
        loss = sampled_softmax_loss(
            hidden, vectors[targets], vectors[drawn], targets, drawn, torch.log(share[drawn] * m)
        )
        gaps[m] = abs(loss.item() - full)
    assert gaps[20_000] < 0.02 < gaps[20]


@pytest.mark.parametrize("chunk", [7, 100])
def test_weighted_losses_are_the_weighted_mean_of_the_cross_entropies(chunk: int) -> None:
    random = torch.Generator().manual_seed(4)
    hidden = torch.randn(23, 8, generator=random, requires_grad=True)
    vectors = torch.randn(50, 8, generator=random, requires_grad=True)
    targets = torch.randint(50, (23,), generator=random)
    weights = torch.rand(23, generator=random)
    weights[3] = 0
    each = F.cross_entropy(hidden @ vectors.T, targets, reduction="none")
    exact = (each * weights).sum() / weights.sum()
    wanted = torch.autograd.grad(3 * exact, (hidden, vectors))
    loss = softmax_loss(hidden, vectors, targets, chunk=chunk, weights=weights)
    found = torch.autograd.grad(3 * loss, (hidden, vectors))
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    everything = torch.arange(50)
    sampled = sampled_softmax_loss(
        hidden, vectors[targets], vectors, targets, everything, torch.zeros(50), weights
    )
    assert sampled.item() == pytest.approx(exact.item(), rel=1e-5)
