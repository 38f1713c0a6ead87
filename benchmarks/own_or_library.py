"""Our own code against the libraries that do the same: benchmarks/results/own_or_library.md.

    python -m benchmarks.own_or_library [trees sequence int8 als settings] [--root .] [--million]

Code of our own stays where it is at least twice as fast or does what the library cannot. Measured
on the embedded shop: ``--root`` is a folder after ``make run``.

- ``trees``: the ranker's trees (``two_stage/tree_inference.py``) on the features of one request's
  candidates and of a batch of requests, against LightGBM, lleaves and treelite (its interpreter,
  and the C code of tl2cgen, which needs gcc).
- ``sequence``: the newest state of SASRec (``sasrec/inference.py``) for one history and a batch,
  against ONNX Runtime and PyTorch.
- ``int8``: the encoder's graph (``language/int8.py``) against ``quantize_dynamic`` of ONNX Runtime,
  plain and after ONNX Runtime's own fusions; overlap: the share of a product's ten nearest in
  fp32 that stay among its ten nearest.
- ``als``: a sweep of matrix factorisation (``models/als.py``) against implicit's, and NDCG@10 on
  the validation window; with ``--million`` also on 1,000,000 synthetic products (4 GB, a quarter
  of an hour). implicit has no regularisation by frequency, so its is the best of a few values.
- ``settings``: which variables of the environment (``components/settings.py``) are understood,
  against pydantic-settings.

One thread. Times are the least of several calls, of the processor for ``als``. lleaves, treelite,
tl2cgen, implicit and onnxscript are no dependencies: install them in an environment of their own.
What is not installed is skipped by name.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.leave_one_out import RESULTS
from benchmarks.million import DAY, shop
from components.data.dataset import (
    Catalogue,
    Histories,
    Interactions,
    Prepared,
    item_text,
    load_prepared,
)
from components.data.holdout import Task, window_task
from components.evaluation.metrics import ndcg
from components.language.encoder import TextEncoder
from components.recommenders.models.als import MatrixFactorisation, Observed, solve_implicit
from components.recommenders.models.sasrec.network import Network, right_aligned
from components.recommenders.two_stage.forms import LearnedRanking
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import MatrixFactorisation as Factors
from components.settings import SettingsError, load_settings

SECONDS = 1.0
"""For which a call is repeated, and CALLS times at least."""
CALLS = 4
USERS = 64
"""Histories of a batch."""


@dataclass(frozen=True)
class Row:
    """One contender: its time in seconds (NaN: not timed) and what else was found."""

    part: str
    name: str
    seconds: float
    found: str = ""


def least(call: Callable[[], object]) -> float:
    """Return the seconds of the fastest of several calls."""
    call()
    best, until, calls = np.inf, time.perf_counter() + SECONDS, 0
    while calls < CALLS or time.perf_counter() < until:
        began = time.perf_counter()
        call()
        best, calls = min(best, time.perf_counter() - began), calls + 1
    return best


def installed(*names: str) -> bool:
    """Return whether the packages are there, and print the first that is not."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        print(f"skipped, not installed: {missing[0]}", flush=True)
    return not missing


def regulars(prepared: Prepared) -> Histories:
    """Return the histories of the validation window that have 20 events or more."""
    every = window_task(prepared, "validation", True).histories
    return every.pick(np.flatnonzero(every.lengths() >= 20))


def trees(root: Path) -> Iterator[Row]:
    """Compare readers of the ranker's trees."""
    model = Hybrid.load(root / "models/hybrid")
    ranker = model.ranker
    assert ranker is not None
    form = LearnedRanking(model.generator, model.features, ranker)
    prepared = load_prepared(root / "data/prepared")
    histories = regulars(prepared)
    several = form._pairs(histories.take(slice(0, USERS))).features
    one = form._pairs(histories.take(slice(0, 1))).features
    sizes = {f"{len(x)} rows": x for x in (one, several)}
    expected = {name: ranker.booster.predict(x) for name, x in sizes.items()}

    def rows(name: str, predict: Callable[[np.ndarray], np.ndarray], ready: float) -> Iterator[Row]:
        for size, x in sizes.items():
            apart = np.abs(predict(x).ravel() - expected[size]).max()
            found = f"ready in {ready:.2f} s; differs by {apart:.0e}"
            yield Row(f"trees, {size}", name, least(lambda x=x: predict(x)), found)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ranker.txt"
        ranker.booster.save_model(file)
        began = time.perf_counter()
        own = type(ranker).load(file)
        forest = own._forest
        assert forest is not None
        forest.predict(one)
        yield from rows("ours", forest.predict, time.perf_counter() - began)
        yield from rows("LightGBM", lambda x: own.booster.predict(x, num_threads=1), 0.0)
        if installed("lleaves"):
            import lleaves

            began = time.perf_counter()
            compiled = lleaves.Model(model_file=file)
            try:
                compiled.compile()
            except AttributeError as error:  # lleaves 1.3 with a current numba's llvmlite
                print(f"skipped, lleaves does not run here: {error}", flush=True)
            else:
                seconds = time.perf_counter() - began
                yield from rows("lleaves", lambda x: compiled.predict(x, n_jobs=1), seconds)
        if installed("treelite"):
            import treelite

            began = time.perf_counter()
            read = treelite.frontend.load_lightgbm_model(file)
            seconds = time.perf_counter() - began
            yield from rows(
                "treelite", lambda x: treelite.gtil.predict(read, np.asarray(x, "d"), nthread=1),
                seconds,
            )  # fmt: skip
        if installed("treelite", "tl2cgen"):
            import tl2cgen

            began = time.perf_counter()
            library = Path(folder) / "ranker.so"
            tl2cgen.export_lib(read, toolchain="gcc", libpath=library, options=["-O3"])
            predictor = tl2cgen.Predictor(library, nthread=1)
            seconds = time.perf_counter() - began
            yield from rows(
                "treelite, compiled by tl2cgen",
                lambda x: predictor.predict(
                    tl2cgen.DMatrix(np.ascontiguousarray(x, "d"), dtype="float64")
                ),
                seconds,
            )


class _LastState(torch.nn.Module):
    """SASRec's state after the newest event, as ``sasrec.inference`` computes it."""

    def __init__(self, network: Network, vectors: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("vectors", vectors)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        return self.network(items, self.vectors)[:, -1]


def sequence(root: Path) -> Iterator[Row]:
    """Compare ways to compute SASRec's newest state."""
    model: Any = Hybrid.load(root / "models/hybrid").candidates["sequential"]
    prepared = load_prepared(root / "data/prepared")
    every = regulars(prepared)
    width = model.project.shape[1]
    network = Network(model.settings, torch.zeros(len(model.vectors), width))
    state = {name: torch.from_numpy(array.copy()) for name, array in model.weights.items()}
    network.load_state_dict(state, strict=False)
    torched = _LastState(network, torch.from_numpy(model.vectors)).eval()
    session = _onnx_session(torched) if installed("onnxscript") else None
    for size in (1, USERS):
        histories = every.take(slice(0, size))
        lengths = np.minimum(histories.lengths(), model.settings.max_length)
        items = right_aligned(histories.items, histories.offsets[1:], lengths)

        def ours(past: Histories = histories, newest: np.ndarray = lengths) -> np.ndarray:
            return model._last_state(past.items, past.offsets[1:], newest, model.vectors)

        expected = ours()
        contenders: dict[str, Callable[[], np.ndarray]] = {"ours": ours}
        if session is not None:
            contenders["ONNX Runtime"] = lambda x=items: session.run(None, {"items": x.numpy()})[0]
        contenders["PyTorch"] = lambda x=items: torched(x).numpy()
        for name, call in contenders.items():
            with torch.inference_mode():
                apart = np.abs(call() - expected).max()
                part = f"sequence, {size} histor{'y' if size == 1 else 'ies'}"
                yield Row(part, name, least(call), f"differs by {apart:.0e}")


def _onnx_session(module: torch.nn.Module) -> Any:
    """Return ONNX Runtime's session of ``module``: items, int64 (batch, length) → states."""
    import onnxruntime

    dims = {0: torch.export.Dim("batch", min=1, max=4096), 1: torch.export.Dim("length", max=50)}
    given = torch.zeros((3, 7), dtype=torch.int64)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sasrec.onnx"
        with sdpa_kernel(SDPBackend.MATH):  # the others' layout cannot be exported
            torch.onnx.export(
                module, (given,), file, input_names=["items"], dynamic_shapes=(dims,), verbose=False
            )
        return onnxruntime.InferenceSession(file, _one_thread(), ["CPUExecutionProvider"])


def _one_thread() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return options


def int8(root: Path) -> Iterator[Row]:
    """Compare the encoder in int8 with ONNX Runtime's own quantisation."""
    name = root / "models/language/finetuned"
    texts = item_text(pd.read_parquet(root / "data/prepared/items.parquet"))[:500]
    encoder = TextEncoder(name, precision="fp32")
    exact = encoder.encode(texts)
    part = f"int8, {len(texts)} titles"

    def row(name: str, one: TextEncoder) -> Row:
        vectors = one.encode(texts)
        cosine = (vectors * exact).sum(axis=1)
        overlap = np.mean(
            [
                len(set(a) & set(b)) / 10
                for a, b in zip(*map(_nearest, (vectors, exact)), strict=True)
            ]
        )
        return Row(
            part, name, least(lambda: one.encode(texts)),
            f"cosine {cosine.mean():.4f}, least {cosine.min():.4f}; overlap {overlap:.3f}",
        )  # fmt: skip

    yield row("ours", TextEncoder(name, precision="int8"))
    yield row("PyTorch, fp32", encoder)
    yield row("PyTorch, bf16", TextEncoder(name, precision="bf16"))
    if installed("onnxscript"):
        for fused in (False, True):
            one = TextEncoder(name, precision="fp32")
            one._means = _quantised(one, fused)  # type: ignore[method-assign]
            yield row(f"quantize_dynamic{', after fusions' if fused else ''}", one)


def _nearest(vectors: np.ndarray) -> np.ndarray:
    """Return int (n, 10): the nearest other rows of each of the unit vectors (n, d)."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return np.argpartition(-scores, 10, axis=1)[:, :10]


def _quantised(encoder: TextEncoder, fused: bool) -> Callable[[list[list[int]]], torch.Tensor]:
    """Return ``TextEncoder._means`` by ONNX Runtime's quantisation of the exported model."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    dims = {0: torch.export.Dim("texts", max=4096), 1: torch.export.Dim("longest", max=64)}
    ids = torch.zeros((3, 7), dtype=torch.int64)
    model: Any = encoder.model
    model.set_attn_implementation("eager")  # SDPA's layout cannot be exported
    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        torch.onnx.export(
            model, (ids, torch.ones_like(ids)), plain, input_names=["ids", "mask"],
            output_names=["hidden", "pooled"], dynamic_shapes=(dims, dims), verbose=False,
            external_data=False,
        )  # fmt: skip
        if fused:
            from onnxruntime.transformers.optimizer import optimize_model

            c = model.config
            optimize_model(
                str(plain), "bert", num_heads=c.num_attention_heads, hidden_size=c.hidden_size
            ).save_model_to_file(str(plain))
        quantize_dynamic(plain, small, weight_type=QuantType.QInt8, per_channel=True)
        session = onnxruntime.InferenceSession(small, _one_thread(), ["CPUExecutionProvider"])

    def means(ids: list[list[int]]) -> torch.Tensor:
        lengths = np.array([len(one) for one in ids])
        mask = np.arange(lengths.max()) < lengths[:, None]
        padded = np.zeros(mask.shape, dtype=np.int64)
        padded[mask] = np.concatenate(ids)
        hidden = session.run(["hidden"], {"ids": padded, "mask": mask.astype(np.int64)})[0]
        sums = (hidden * mask[..., None]).sum(axis=1)
        return torch.nn.functional.normalize(torch.from_numpy(sums), dim=1)

    return means


def als(root: Path, million: bool) -> Iterator[Row]:
    """Compare a sweep of matrix factorisation, and what it learns."""
    prepared = load_prepared(root / "data/prepared")
    task = window_task(prepared, "validation", True)
    yield from _als("als, the shop", prepared.interactions.split("train"), prepared.catalogue, task)
    if million:
        x, catalogue = shop(1_000_000, 200_000, seed=2)
        split = 335 * DAY
        later = x.where(x.times >= split)
        users = np.unique(later.users)[:300]
        task = Task(users, x.histories(users, split), later.matrix()[users])
        train = x.where(x.times < split)
        yield from _als("als, 1,000,000 products", train, replace(catalogue, vectors=None), task, 4)


def _als(
    part: str, train: Interactions, catalogue: Catalogue, task: Task, sweeps: int = 12
) -> Iterator[Row]:
    def judged(recommend: Callable[[slice], np.ndarray]) -> float:
        parts = [recommend(slice(at, at + 100)) for at in range(0, len(task.users), 100)]
        return float(ndcg(np.vstack(parts), task.targets).mean())

    settings = Factors(iterations=sweeps)
    few = train.where(np.arange(len(train)) < 1000)
    MatrixFactorisation(Factors(iterations=1)).fit(few, catalogue)  # compiles
    began = time.process_time()
    model = MatrixFactorisation(settings).fit(train, catalogue)
    seconds = (time.process_time() - began) / sweeps
    found = judged(lambda rows: model.recommend(task.histories.take(rows), 10)[0])
    yield Row(f"{part}, a sweep", "ours", seconds, f"NDCG@10 {found:.4f}")
    matrix = train.matrix()
    sides = Observed.of(matrix), Observed.of(matrix.T.tocsr())
    began = time.process_time()
    users = solve_implicit(sides[0], model.factors, settings.confidence, settings.regularisation)
    solve_implicit(sides[1], users, settings.confidence, settings.regularisation)
    yield Row(f"{part}, a sweep", "ours, exact", time.process_time() - began)
    if not installed("implicit"):
        return
    from implicit.als import AlternatingLeastSquares

    matrix.data = 1 + settings.confidence * matrix.data  # implicit's confidence counts both sums
    for exact in (False, True):
        results = []
        for regularisation in (1.0, 10.0, 30.0, 100.0, 200.0):
            other = AlternatingLeastSquares(
                settings.factors, alpha=1.0, regularization=regularisation, iterations=sweeps,
                num_threads=1, random_state=0, use_cg=not exact,
            )  # fmt: skip
            began = time.process_time()
            other.fit(matrix, show_progress=False)
            seconds = (time.process_time() - began) / sweeps
            lists = lambda rows, one=other: one.recommend(  # noqa: E731
                task.users[rows], matrix[task.users[rows]], N=10
            )[0]
            results.append((judged(lists), regularisation, seconds))
            if exact:
                break
        best, regularisation, _ = max(results)
        yield Row(
            f"{part}, a sweep", f"implicit{', exact' if exact else ''}",
            min(one[2] for one in results), f"NDCG@10 {best:.4f} (λ {regularisation:g})",
        )  # fmt: skip


VARIABLES: dict[str, tuple[dict[str, str], Callable[[Any], bool] | None]] = {
    "a key of a section": ({"SERVE__PORT": "8080"}, lambda s: s.serve.port == 8080),
    "a second level": ({"SERVE__RULES__POOL": "7"}, lambda s: s.serve.rules.pool == 7),
    "a list": ({"SERVE__ALLOWED_HOSTS": '["a.b"]'}, lambda s: s.serve.allowed_hosts == ["a.b"]),
    "a text that looks like no text": (
        {"INGEST__CURRENCY": "NO"},
        lambda s: s.ingest.currency == "NO",
    ),
    "null": (
        {"TRAIN__EASE__DECAY": "0.5", "TRAIN__ITEM_NEIGHBOURS__HALF_LIFE_DAYS": "null"},
        lambda s: s.train.item_neighbours.half_life_days is None,
    ),
    "a key before its section": (
        {"SERVE__RULES__POOL": "9", "SERVE__RULES": '{"pool": 8, "max_per_brand": 2}'},
        lambda s: s.serve.rules.pool == 9 and s.serve.rules.max_per_brand == 2,
    ),
    "YAML, as before": (
        {"SERVE__EXPERIMENT": "{name: spring, model: champion}"},
        lambda s: s.serve.experiment.name == "spring",
    ),
    "a mistyped section is refused": ({"SERV__PORT": "1"}, None),
    "a wrong value names its variable": ({"SERVE__PORT": "many"}, None),
    "a wrong value of a credential is not quoted": ({"SERVE__RULES": "{a: S3CRET}"}, None),
}
"""Variables, and whether the settings made from them are right; None: they must be refused."""


def settings(root: Path) -> Iterator[Row]:
    """Compare what becomes of variables."""
    for name, load in {"ours": _own_settings, "pydantic-settings": _library_settings}.items():
        failed = []
        for title, (variables, right) in VARIABLES.items():
            named = {f"BOWERBIRD_{key}": value for key, value in variables.items()}
            with patch.dict(os.environ, named):
                try:
                    loaded = load(root)
                    passed = right is not None and right(loaded)
                except (SettingsError, ValueError) as error:
                    said, cause = "", error
                    while cause is not None:
                        said, cause = f"{said} {cause}", cause.__cause__ or cause.__context__
                    passed = (
                        right is None and any(one in said for one in named) and "S3CRET" not in said
                    )
            if not passed:
                failed.append(title)
        right_ones = len(VARIABLES) - len(failed)
        seconds = least(lambda load=load: load(root))
        found = f"{right_ones} of {len(VARIABLES)} cases" + (
            f"; not: {', '.join(failed)}" if failed else ""
        )
        yield Row("settings", name, seconds, found)


def _own_settings(root: Path) -> Any:
    return load_settings(root / "params.yaml")


def _library_settings(root: Path) -> Any:
    """Return the settings by pydantic-settings as its documentation shows it."""
    from pydantic_settings import (
        BaseSettings,
        PydanticBaseSettingsSource,
        SettingsConfigDict,
        YamlConfigSettingsSource,
    )

    from components.settings import Settings

    class FromEnvironment(Settings, BaseSettings):
        model_config = SettingsConfigDict(
            env_prefix="BOWERBIRD_", env_nested_delimiter="__", env_prefix_target="all",
            env_parse_none_str="null", yaml_file=root / "params.yaml", extra="forbid",
        )  # fmt: skip

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: Any, env_settings: Any, **__: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return env_settings, YamlConfigSettingsSource(settings_cls)

    return FromEnvironment()


PARTS = ("trees", "sequence", "int8", "als", "settings")


def table(rows: list[Row]) -> list[str]:
    """Return Markdown lines, with the ratio of each time to ours in the same part."""
    lines = ["| part | | ms | times ours | |", "|---|---|---|---|---|"]
    ours = {row.part: row.seconds for row in rows if row.name == "ours"}
    for row in rows:
        ratio = row.seconds / ours[row.part]
        lines.append(
            f"| {row.part} | {row.name} | {row.seconds * 1000:,.3g} | {ratio:.2f} | {row.found} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--million", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.cpu_count = lambda: 1  # one thread of our own, too
    runs: dict[str, Callable[[], Iterator[Row]]] = {
        "trees": lambda: trees(arguments.root),
        "sequence": lambda: sequence(arguments.root),
        "int8": lambda: int8(arguments.root),
        "als": lambda: als(arguments.root, arguments.million),
        "settings": lambda: settings(arguments.root),
    }
    rows: list[Row] = []
    whole = "all" in arguments.parts
    for part in PARTS if whole else arguments.parts:
        for row in runs[part]():
            rows.append(row)
            print(f"{row.part}: {row.name}: {row.seconds * 1000:.3g} ms; {row.found}", flush=True)
    page = [
        "# Our own code or a library's",
        "",
        "Made by `python -m benchmarks.own_or_library`, whose docstring gives the protocol.",
        "",
        *table(rows),
        "",
    ]
    if whole:
        (RESULTS / "own_or_library.md").write_text("\n".join(page), encoding="utf-8")
    else:
        print("\n".join(page))


if __name__ == "__main__":
    main()
