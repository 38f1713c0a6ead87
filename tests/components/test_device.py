"""What trains on a GPU keeps all its tensors there; the GPU is pretended (tests/pretended_gpu)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from components.data.dataset import Interactions
from components.device import best_device
from components.language.encoder import TextEncoder
from components.language.finetuning import finetune
from components.language.ratings import predict
from components.recommenders.models.sasrec.model import Sequential
from components.recommenders.models.sasrec.network import Training
from components.settings import Finetune
from components.settings import Sequential as SequentialSettings
from tests.components.recommenders.models.sasrec.ring import SMALL, in_a_ring
from tests.encoders import write_small_encoder
from tests.pretended_gpu import PretendedGPU

TEXTS = [f"{colour} {thing}" for colour in ("red", "blue", "green") for thing in ("bag", "mug")]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedGPU]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    with PretendedGPU() as pretended:
        yield pretended


def test_the_pretended_gpu_refuses_what_a_gpu_refuses(gpu: PretendedGPU) -> None:
    near, far = torch.arange(3), torch.arange(3, device="cuda")
    assert (far.device.type, near.device.type) == ("cuda", "cpu")
    assert (far + near.to("cuda") * torch.tensor(2)).cpu().numpy().tolist() == [0, 3, 6]
    for wrong in (lambda: far + near, lambda: torch.cat([near, far]), lambda: far[near]):
        with pytest.raises(RuntimeError, match="on the CPU of shapes"):
            wrong()
    with pytest.raises(TypeError, match="numpy"):
        far.numpy()
    layer = torch.nn.Linear(3, 2).to("cuda")
    assert layer(far.float()).device == layer.weight.device == torch.device("cuda:0")
    with pytest.raises(RuntimeError, match="linear"):
        layer(near.float())


def test_fine_tuning_and_encoding(gpu: PretendedGPU, tmp_path: Path) -> None:
    folder = write_small_encoder(tmp_path / "small")
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(20), 3)
    data = Interactions.from_arrays(
        users, random.integers(0, len(TEXTS), 60), np.arange(60), n_items=len(TEXTS)
    )
    reviews = pd.DataFrame({"title": "fine", "text": TEXTS, "rating": [1.0, 2, 3, 4, 5, 5]})
    settings = Finetune(
        tasks=["next_product", "retrieval", "rating"], head_steps=2, steps=2, batch_size=16,
        products=4, queries=4, reviews=4, negatives=3,
    )  # fmt: skip
    encoder = TextEncoder(folder, training=True)
    assert encoder.device == best_device() == torch.device("cuda")
    log, ratings = finetune(encoder, TEXTS, data, settings, 1, tmp_path / "kept", "m", reviews)
    assert [set(record) & {"retrieval", "rating"} for record in (log[0], log[-1])] == [
        {"retrieval"},
        {"retrieval", "rating"},
    ]
    assert gpu.calls > 100
    assert ratings is not None
    assert np.isfinite(ratings.held_out(TEXTS, reviews["rating"].to_numpy()))
    encoder.save(tmp_path / "tuned")
    ratings.save(tmp_path / "tuned")
    again, served = (
        TextEncoder(tmp_path / "tuned", precision="fp32", device=device) for device in (None, "cpu")
    )
    assert (again.device.type, served.device.type) == ("cuda", "cpu")
    assert (again.encode(TEXTS) * served.encode(TEXTS)).sum(axis=1) == pytest.approx(1, abs=1e-5)
    shares, _ = predict(tmp_path / "tuned", again, TEXTS)
    assert shares.shape == (len(TEXTS), 5)


@pytest.mark.parametrize("full_softmax_items", [50_000, 0])
def test_sasrec_and_its_checkpoint(
    full_softmax_items: int, gpu: PretendedGPU, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, catalogue = in_a_ring()
    changes = {"epochs": 2, "full_softmax_items": full_softmax_items, "negatives": 16}
    settings = SMALL.model_copy(update=changes)
    whole = Sequential(settings, 1).fit(train, catalogue)
    assert gpu.calls > 100
    keep = Training._keep

    def killed(self: Training, *arguments: object) -> None:
        keep(self, *arguments)  # type: ignore[arg-type]
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_keep", killed)
        with pytest.raises(Killed):
            continued(settings, tmp_path).fit(train, catalogue)
    again = continued(settings, tmp_path).fit(train, catalogue)
    assert np.array_equal(again.vectors, whole.vectors)


class Killed(Exception):
    pass


def continued(settings: SequentialSettings, folder: Path) -> Sequential:
    model = Sequential(settings, 1)
    model.keep_checkpoint(folder / "state.safetensors")
    return model
