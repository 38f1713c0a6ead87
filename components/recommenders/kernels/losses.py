"""Softmax cross-entropy over a catalogue: exact in bounded memory, or sampled.

In: hidden states (n, d), item vectors (items, d), the codes bought. The n × items logits, by far
the largest array of a training, are never held as a whole.
"""

from __future__ import annotations

from typing import Any

import torch


class _ChunkedSoftmax(torch.autograd.Function):
    """Logits, loss and both gradients of a chunk of rows while its logits are in the cache.

    The loss is the end of the graph, so the forward pass computes its gradients and the backward
    pass only scales them. (The idea of Liger's fused linear cross-entropy, Hsu et al. 2024.)
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        vectors: torch.Tensor,
        targets: torch.Tensor,
        dtype: torch.dtype,
        chunk: int,
        weights: torch.Tensor | None,
    ) -> torch.Tensor:
        total = len(hidden) if weights is None else weights.sum()
        states, items = hidden.to(dtype), vectors.to(dtype)
        across = items.T.contiguous()
        d_hidden = torch.empty_like(states)
        d_vectors = torch.zeros_like(vectors, dtype=torch.float32)
        log_likelihood = torch.zeros((), device=hidden.device)
        for start in range(0, len(hidden), chunk):
            rows = slice(start, start + chunk)
            part, wanted = states[rows], targets[rows]
            error = torch.softmax(part @ across, dim=1)  # (chunk, items)
            of_wanted = error.gather(1, wanted[:, None])
            logs = of_wanted.float().clamp_min(1e-38).log()
            error.scatter_(1, wanted[:, None], of_wanted - 1)
            if weights is not None:
                own = weights[rows, None]
                logs = logs * own
                error *= own.to(dtype)
            log_likelihood += logs.sum()
            torch.mm(error, items, out=d_hidden[rows])
            d_vectors += error.T @ part
        ctx.save_for_backward(
            d_hidden.to(hidden.dtype) / total, (d_vectors / total).to(vectors.dtype)
        )
        return -log_likelihood / total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        d_hidden, d_vectors = ctx.saved_tensors
        return grads[0] * d_hidden, grads[0] * d_vectors, None, None, None, None


def softmax_loss(
    hidden: torch.Tensor,
    vectors: torch.Tensor,
    targets: torch.Tensor,
    dtype: torch.dtype = torch.float32,
    chunk: int = 384,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the mean cross-entropy of ``hidden @ vectors.T`` (a scalar) with its gradients.

    hidden: (n, d). vectors: (items, d). targets: int64 (n,) rows of ``vectors``. dtype: of the
    products; bfloat16 halves time and memory on processors that support it. At most chunk × items
    logits are held at a time. weights: float32 (n,) of each target in the mean; None: equal.
    Gradients are always computed.
    """
    return _ChunkedSoftmax.apply(hidden, vectors, targets, dtype, chunk, weights)  # type: ignore[no-untyped-call]


class _ChunkedSampledSoftmax(torch.autograd.Function):
    """The same over a sample of the items, with each row's own target."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        positive: torch.Tensor,
        negative: torch.Tensor,
        hits: torch.Tensor,
        shift: torch.Tensor,
        weights: torch.Tensor | None,
        dtype: torch.dtype,
        chunk: int,
    ) -> torch.Tensor:
        total = len(hidden) if weights is None else weights.sum()
        states, bought, items = hidden.to(dtype), positive.to(dtype), negative.to(dtype)
        across, shift = items.T.contiguous(), shift.to(dtype)
        d_hidden, d_positive = torch.empty_like(states), torch.empty_like(bought)
        d_negative = torch.zeros_like(negative, dtype=torch.float32)
        log_likelihood = torch.zeros((), device=hidden.device)
        bounds = torch.searchsorted(
            hits[0].contiguous(), torch.arange(0, len(hidden) + chunk, chunk, device=hits.device)
        ).tolist()
        for n, start in enumerate(range(0, len(hidden), chunk)):
            rows = slice(start, start + chunk)
            part, targets = states[rows], bought[rows]
            logits = torch.addmm(shift, part, across)  # (chunk, sample)
            row, column = hits[:, bounds[n] : bounds[n + 1]]
            logits[row - start, column] = -torch.inf
            of_targets = (part * targets).sum(dim=1, keepdim=True)
            shares = torch.softmax(torch.cat([of_targets, logits], dim=1), dim=1)
            first, others = shares[:, 0].float(), shares[:, 1:]
            # Not 1 - first, which a short type would round to 0 where the target is nearly sure.
            missed = others.sum(dim=1, dtype=torch.float32)
            logs = torch.where(first > 0.5, torch.log1p(-missed), first.clamp_min(1e-38).log())
            if weights is not None:
                own_weights = weights[rows]
                logs, missed = logs * own_weights, missed * own_weights
                others = others * own_weights[:, None].to(dtype)
            log_likelihood += logs.sum()
            own = -missed[:, None].to(dtype)
            d_hidden[rows] = others @ items + own * targets
            d_positive[rows] = own * part
            d_negative += others.T @ part
        ctx.save_for_backward(
            d_hidden.to(hidden.dtype) / total,
            d_positive.to(positive.dtype) / total,
            (d_negative / total).to(negative.dtype),
        )
        return -log_likelihood / total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return *(grads[0] * one for one in ctx.saved_tensors), *(None,) * 5


def sampled_softmax_loss(
    hidden: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    targets: torch.Tensor,
    negatives: torch.Tensor,
    log_expected: torch.Tensor,
    weights: torch.Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    chunk: int = 256,
) -> torch.Tensor:
    """Return the mean cross-entropy (a scalar) against sampled negatives, logQ-corrected.

    Bengio and Senécal 2008; Yi et al. 2019. hidden: (n, d). positive: (n, d), the vectors bought.
    negative: (m, d), vectors of the sampled codes. targets: (n,) and negatives: (m,) codes.
    log_expected: (m,), log of how often each negative is expected in the sample, which makes the
    sum over the sample an unbiased estimate of the sum over the catalogue. weights, dtype: as
    above. At most chunk × m logits are held at a time. Gradients are always computed.
    """
    shift = -log_expected
    return _ChunkedSampledSoftmax.apply(  # type: ignore[no-untyped-call]
        hidden, positive, negative, _hits(targets, negatives), shift, weights, dtype, chunk
    )


def _hits(targets: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
    """Return int64 (2, hits), ascending by row: the places where a row's target was sampled."""
    ordered, places = torch.sort(negatives)
    first = torch.searchsorted(ordered, targets)
    counts = torch.searchsorted(ordered, targets, right=True) - first
    row = torch.repeat_interleave(torch.arange(len(targets), device=targets.device), counts)
    before = (torch.cumsum(counts, 0) - counts)[row]
    inside = torch.arange(len(row), device=row.device) - before
    return torch.stack([row, places[first[row] + inside]])
