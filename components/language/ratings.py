"""Rating prediction from review texts: an additional task of fine-tuning.

In: review texts, preceded by the product's description, and ratings 1 to 5. Out: two linear heads
on the encoder's vector, one for the five classes and one for the number. The heads start as
linear probes of the encoder, so that training does not distort the pre-trained features first
(Kumar et al., ICLR 2022).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression, Ridge
from torch.nn import functional as F

from components.arrays import FloatArray
from components.language.batches import whole_passes
from components.language.encoder import TextEncoder, linear

CLASSES = 5
PROBED = 2000
"""Reviews from which the heads are initialised."""
FILE = "ratings.safetensors"


def review_texts(reviews: pd.DataFrame, products: pd.Series | None = None) -> list[str]:
    """Return the input text of each review: the product's description if given, title, text."""
    columns = [reviews["title"].fillna(""), reviews["text"].fillna("")]
    if products is not None:
        columns.insert(0, products.fillna(""))
    parts = pd.concat(columns, axis=1).to_numpy()
    return [". ".join(part.strip() for part in row if part.strip()) for row in parts]


class RatingTask(torch.nn.Module):
    """Sampler of reviews, the loss of their ratings, and the trained heads.

    texts: as of ``review_texts``. ratings: float (texts,), 1 to 5.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        texts: list[str],
        ratings: FloatArray,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.encoder, self.texts, self.ratings = encoder, texts, np.asarray(ratings, np.float32)
        self.batch_size, self.seed = batch_size, seed
        for module in encoder.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0  # one or two passes do not overfit, and a step takes 2/3 of the time
        rows = np.random.default_rng(seed).permutation(len(texts))[:PROBED]
        probed = encoder.encode([texts[row] for row in rows], with_head=False)
        probed = scaled(torch.from_numpy(probed)).numpy()
        self.number = linear(*_ridge(probed, self.ratings[rows]))
        self.stars = linear(*_logistic(probed, self.ratings[rows]))
        self.to(encoder.device)

    def loss(self, step: int) -> torch.Tensor:
        """Return cross-entropy of the classes plus squared error of the number, batch n's mean."""
        rows = whole_passes(np.arange(len(self.texts)), self.batch_size, self.seed, step)
        vectors = self.encoder.before_head([self.texts[row] for row in rows])
        return self._loss(vectors, self.ratings[rows])

    def held_out(self, texts: list[str], ratings: FloatArray) -> float:
        """Return the same loss of other reviews, by the current weights."""
        with torch.no_grad():
            vectors = self.encoder.tensor(self.encoder.encode(texts, with_head=False))
            return float(self._loss(vectors, np.asarray(ratings, np.float32)))

    def _loss(self, vectors: torch.Tensor, ratings: FloatArray) -> torch.Tensor:
        vectors, wanted = scaled(vectors), self.encoder.tensor(ratings)
        stars = F.cross_entropy(self.stars(vectors).float(), wanted.round().long() - 1)
        return stars + F.mse_loss(self.number(vectors).float()[:, 0], wanted)

    def save(self, folder: Path) -> None:
        """Write the heads into the encoder's ``folder``."""
        save_file(self.state_dict(), folder / FILE)


def predict(folder: Path, encoder: TextEncoder, texts: list[str]) -> tuple[FloatArray, FloatArray]:
    """Return float32 probabilities (texts, 5) and numbers (texts,) by the heads of ``folder``."""
    heads = load_file(folder / FILE)
    vectors = scaled(torch.from_numpy(encoder.encode(texts, with_head=False)))
    stars = F.linear(vectors, heads["stars.weight"], heads["stars.bias"]).softmax(dim=1)
    number = F.linear(vectors, heads["number.weight"], heads["number.bias"])[:, 0]
    return stars.numpy(), number.clamp(1, CLASSES).numpy()


def scaled(vectors: torch.Tensor) -> torch.Tensor:
    """Return unit vectors (texts, width) with coordinates about one in size.

    The optimiser changes every weight by about the learning rate. With coordinates of 0.05 the
    heads would learn much more slowly than the encoder.
    """
    return vectors * vectors.shape[1] ** 0.5


def _ridge(vectors: FloatArray, ratings: FloatArray) -> tuple[torch.Tensor, torch.Tensor]:
    found = Ridge(alpha=vectors.shape[1]).fit(vectors, ratings)
    weight = torch.from_numpy(np.atleast_2d(found.coef_)).float()
    return weight, torch.tensor([float(found.intercept_)])


def _logistic(vectors: FloatArray, ratings: FloatArray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight (5, width) and bias (5,); a class without examples gets a low bias."""
    weight, bias = np.zeros((CLASSES, vectors.shape[1])), np.full(CLASSES, -5.0)
    stars = ratings.round().astype(int) - 1
    seen = np.unique(stars)
    if len(seen) > 2:  # for two classes, scikit-learn has a single row of weights
        found = LogisticRegression(C=2.0 / vectors.shape[1], max_iter=200).fit(vectors, stars)
        weight[found.classes_], bias[found.classes_] = found.coef_, found.intercept_
    else:
        bias[seen] = 0.0
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()
