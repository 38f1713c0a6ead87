"""Each family's batches and objective on real text, and the stage that trains them."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoTokenizer

from components.language import corpus, families, pretraining
from components.language.corpus import starts_of_words
from components.language.encoder import TextEncoder
from components.language.families import FAMILIES, open_model, save_model
from components.language.objectives import IGNORED, Objective, objective_of
from components.language.pretraining import perplexity_by_language
from components.settings import Settings
from tests.conftest import REPOSITORY

BRIEF = {
    "steps": 30,
    "batch_size": 16,
    "learning_rate": 5e-3,
    "checkpoint_every": 10,
    "eval_every": 15,
    "log_every": 1,
}


def with_pretrain(settings: Settings, **changes: object) -> Settings:
    section = settings.pretrain.model_copy(update=changes)
    return settings.model_copy(update={"pretrain": section})


@pytest.fixture(scope="module")
def shops(small_shop, tmp_path_factory):
    """Give a root with data/corpus for a family from scratch, made once; and its settings."""
    source, settings = small_shop
    made: dict[str, tuple[Path, Settings]] = {}

    def shop(family: str) -> tuple[Path, Settings]:
        if family not in made:
            root = tmp_path_factory.mktemp(family)
            shutil.copytree(source / "data", root / "data")
            (root / "reports").mkdir()
            chosen = with_pretrain(settings, encoder=f"scratch:{family}", **BRIEF)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(families, "SCRATCH_VOCABULARY", 1500)  # words of several pieces
                corpus.run(chosen, root)
            made[family] = root, chosen
        return made[family]

    return shop


def objective(root: Path, settings: Settings) -> Objective:
    tokenizer = AutoTokenizer.from_pretrained(root / "data/corpus/tokenizer")
    return objective_of(settings, corpus.load_corpus(root / "data/corpus"), tokenizer, False)


def fresh(root: Path, settings: Settings, name: str, base: Path) -> Path:
    """Return a root of its own with the corpus of ``root``: what is trained there stays there."""
    place = base / name
    (place / "reports").mkdir(parents=True)
    (place / "data").symlink_to(root / "data")
    return place


@pytest.mark.parametrize(
    "family",
    [
        one if one in ("bert", "gpt2") else pytest.param(one, marks=pytest.mark.slow)
        for one in FAMILIES
    ],
)
def test_each_family_learns_from_scratch_and_encodes(family: str, shops) -> None:
    root, settings = shops(family)
    pretraining.run(settings, root)
    report = json.loads((root / "reports/pretrain.json").read_text())
    assert report["family"] == family
    assert report["loss_end"] < report["loss_start"] - 0.3
    assert report["perplexity_after"] < 0.7 * report["perplexity_before"]
    encoder = TextEncoder(root / "models/language/pretrained", precision="fp32")
    texts = ["red mug", "the fabric is soft and the colour is just as in the pictures", "cake"]
    vectors = encoder.encode(texts)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    # Padding is not read.
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    assert (vectors * alone).sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-4  # a brief training, far from a good one


def test_perplexity_by_language_is_that_of_its_documents(shops) -> None:
    root, settings = shops("bert")
    made = corpus.load_corpus(root / "data/corpus")
    tokenizer = AutoTokenizer.from_pretrained(root / "data/corpus/tokenizer")
    whole = objective_of(settings, made, tokenizer, held_out=True)
    long = np.diff(made.sentences[np.asarray(made.documents)]) > 12  # as if it were the language
    languages = np.where(long, "de", "en")
    languages[whole.documents[:1]] = "fr"
    model, _ = open_model(settings.pretrain.encoder, tokenizer, settings.seed)
    found = perplexity_by_language(model, whole, languages, 8, "fp32")
    assert set(found) == {"de", "en"}  # one document is no language
    for code, one in found.items():
        inside = np.flatnonzero(
            (languages == code) & np.isin(np.arange(len(long)), whole.documents)
        )
        assert one["documents"] == len(inside)
        parts = np.array_split(np.random.default_rng(settings.seed).permutation(inside), 8)
        means = []
        for number, part in enumerate(parts):
            # An objective made of nothing but these documents.
            alone = replace(made, held_out=np.isin(np.arange(len(long)), part))
            ours = objective_of(settings, alone, tokenizer, held_out=True)
            batch = ours.draw(number, 8)
            with torch.no_grad():
                loss = ours.losses(model.eval(), batch)["mlm"].item()
            means.append(loss / int((batch["labels"] != IGNORED).sum()))
        assert one["perplexity"] == pytest.approx(np.exp(np.mean(means)), rel=1e-4)
        spread = 2.3646 * np.std(means, ddof=1) / np.sqrt(8)  # Student's, 7 degrees of freedom
        assert one["high"] == pytest.approx(np.exp(np.mean(means) + spread), rel=1e-3)
        assert one["low"] < one["perplexity"] < one["high"]
    assert perplexity_by_language(model, whole, np.full(len(long), "en"), 8) == {}


@pytest.mark.parametrize("family", ["bert", "roberta", "xlnet"])
def test_whole_words_are_asked_about_as_often_as_wished(family: str, shops) -> None:
    ours = objective(*shops(family))
    starts = starts_of_words(ours.tokenizer)
    asked = total = continued = 0
    for step in range(10):
        size = 16
        batch = {name: tensor.numpy() for name, tensor in ours.draw(step, size).items()}
        ids, labels = batch["input_ids"], batch["labels"]
        if family == "xlnet":  # its labels stand in the order of the answers
            chosen = batch["target_mapping"].sum(axis=1) > 0
            original = ids
        else:
            chosen = labels != IGNORED
            original = np.where(chosen, labels, ids)
        plain = (batch["attention_mask"] == 1) & ~np.isin(original, ours.tokenizer.all_special_ids)
        assert not chosen[~plain].any()
        assert chosen.any(axis=1).all()
        # A piece that continues a word is asked exactly when the piece before it is.
        inside = ~starts[original[:, 1:]] & plain[:, 1:] & plain[:, :-1]
        continued += inside.sum()
        assert (chosen[:, 1:] == chosen[:, :-1])[inside].all()
        asked, total = asked + chosen.sum(), total + plain.sum()
    assert continued > 10
    assert asked / total == pytest.approx(ours.mask_probability, abs=0.06)


def test_roberta_masks_other_tokens_each_time(shops) -> None:
    ours = objective(*shops("roberta"))
    ours.documents = ours.documents[:1]
    asked = [(ours.draw(n, 4)["labels"] != IGNORED).numpy() for n in range(8)]
    masks = {tuple(map(tuple, np.argwhere(one).T.tolist())) for one in asked}
    assert len(masks) > 4


def test_gpt_reads_from_the_start_mark_and_is_asked_for_each_next_piece(shops) -> None:
    ours = objective(*shops("gpt2"))
    batch = ours.draw(0, 16)
    ids, labels, there = batch["input_ids"], batch["labels"], batch["attention_mask"].bool()
    end = ours.tokenizer.eos_token_id
    assert (ids[:, 0] == end).all()
    length = there.sum(dim=1)
    for row, last in enumerate(length):
        assert torch.equal(labels[row, : last - 1], ids[row, 1:last])
        assert ids[row, last - 1] == end
        assert (labels[row, last - 1 :] == IGNORED).all()
    assert ours.target_counts(batch) == {"clm": int((length - 1).sum())}


def test_xlnet_sees_of_what_is_asked_only_what_came_before_in_the_order(shops) -> None:
    root, settings = shops("xlnet")
    ours = objective(root, settings)
    model, _ = open_model(settings.pretrain.encoder, ours.tokenizer, 1)
    model.eval()
    batch = ours.draw(2, 8)
    row = int((batch["labels"] != IGNORED).sum(dim=1).argmax())
    one = {name: tensor[row : row + 1] for name, tensor in batch.items() if name != "labels"}
    hidden, mapping = one["perm_mask"][0], one["target_mapping"][0]
    places = mapping.argmax(dim=1)[mapping.sum(dim=1) > 0]
    unseen_by = hidden[places][:, places].sum(dim=1)  # how much asked text each answer cannot see
    assert sorted(unseen_by.tolist()) == list(range(1, len(places) + 1))
    first, last = places[unseen_by.argmax()], places[unseen_by.argmin()]
    changed = {name: tensor.clone() for name, tensor in one.items()}
    changed["input_ids"][0, first] = (one["input_ids"][0, first] + 1) % 500 + 10
    with torch.no_grad():
        before, after = model(**one).logits[0], model(**changed).logits[0]
    answer = {int(place): number for number, place in enumerate(places)}
    # The first in the order sees no asked text, its own neither; the last sees the first.
    assert torch.allclose(before[answer[int(first)]], after[answer[int(first)]], atol=1e-5)
    assert not torch.allclose(before[answer[int(last)]], after[answer[int(last)]], atol=1e-5)


def test_half_of_the_second_sentences_follow(shops) -> None:
    ours = objective(*shops("bert"))
    ours.documents = ours.paired
    stored = ours.corpus
    sentences = [tuple(stored.sentence(n)) for n in range(len(stored.sentences) - 1)]
    found = []
    for step in range(10):
        batch = {name: tensor.numpy() for name, tensor in ours.draw(step, 32).items()}
        ids = np.where(batch["labels"] != IGNORED, batch["labels"], batch["input_ids"])
        pair = batch["follows"] != IGNORED
        found.append(batch["follows"][pair])
        for row in np.flatnonzero(pair):
            end = batch["attention_mask"][row].sum()
            cut = batch["token_type_ids"][row].argmax()
            assert ids[row, [cut - 1, end - 1]].tolist() == [ours.tokenizer.sep_token_id] * 2
            if batch["follows"][row] == 0:
                one, two = tuple(ids[row, 1 : cut - 1]), tuple(ids[row, cut : end - 1])
                assert any(
                    following[: len(two)] == two
                    for first, following in itertools.pairwise(sentences)
                    if first[: len(one)] == one
                )
        assert not batch["token_type_ids"][~pair].any()
    assert 0.4 < np.concatenate(found).mean() < 0.6
    assert len(np.concatenate(found)) > 100


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_parts_of_a_batch_add_up_to_its_loss(family: str, shops) -> None:
    """Micro-batches and processes change nothing but rounding."""
    root, settings = shops(family)
    ours = objective(root, settings)
    model, _ = open_model(settings.pretrain.encoder, ours.tokenizer, 1)
    model.eval()

    def loss(parts: int, processes: int) -> float:
        found = [
            sum(part.values()).item()
            for number in range(processes)
            for part in pretraining.step_losses(model, ours, 4, 10, parts, (number, processes))
        ]
        assert len(found) == parts * processes
        return sum(found) / processes

    with torch.no_grad():
        whole = loss(1, 1)
        assert loss(3, 1) == pytest.approx(whole, rel=1e-5)
        assert loss(2, 3) == pytest.approx(whole, rel=1e-5)
    again, other = ours.draw(4, 10), ours.draw(5, 10)
    assert torch.equal(again["input_ids"], ours.draw(4, 10)["input_ids"])
    assert again["input_ids"].shape != other["input_ids"].shape or not torch.equal(
        again["input_ids"], other["input_ids"]
    )


@pytest.mark.slow
def test_a_killed_pretraining_ends_with_the_very_same_weights(shops, tmp_path, monkeypatch) -> None:
    root, settings = shops("bert")
    brief = with_pretrain(settings, steps=12, checkpoint_every=5, eval_every=4, accumulate=2)
    whole, cut = (fresh(root, brief, name, tmp_path) for name in ("whole", "cut"))
    pretraining.run(brief, whole)
    draw = pretraining.step_losses

    def killed(*args):
        if args[2] == 8:
            raise KeyboardInterrupt
        return draw(*args)

    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "step_losses", killed)
        with pytest.raises(KeyboardInterrupt):
            pretraining.run(brief, cut)
    log = json.loads((cut / "models/language/checkpoints/pretrain/log.json").read_text())["log"]
    assert log[-1]["step"] == 4
    pretraining.run(brief, cut)
    ends = [load_file(place / "models/language/pretrained/model.safetensors")
            for place in (whole, cut)]  # fmt: skip
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())
    tables = [pd.read_csv(place / "reports/pretrain.csv") for place in (whole, cut)]
    pd.testing.assert_frame_equal(*tables)


def test_a_training_that_gets_no_better_stops(shops, tmp_path) -> None:
    root, settings = shops("gpt2")
    idle = with_pretrain(settings, learning_rate=1e-12, eval_every=2, patience=2)
    place = fresh(root, idle, "idle", tmp_path)
    pretraining.run(idle, place)
    report = json.loads((place / "reports/pretrain.json").read_text())
    assert (report["stopped_early"], report["steps"]) == (True, 6)
    assert report["perplexity_after"] == pytest.approx(report["perplexity_before"], rel=1e-4)


@pytest.mark.parametrize("family", ["bert", pytest.param("gpt2", marks=pytest.mark.slow)])
def test_low_rank_adapters_are_trained_and_merged(family: str, shops, tmp_path) -> None:
    root, settings = shops(family)
    tokenizer = AutoTokenizer.from_pretrained(root / "data/corpus/tokenizer")
    model, _ = open_model(settings.pretrain.encoder, tokenizer, 1)
    start = tmp_path / "start"
    save_model(model, tokenizer, start)
    light = with_pretrain(settings, encoder=str(start), lora_rank=3, steps=30)
    place = fresh(root, light, "lora", tmp_path)
    pretraining.run(light, place)
    report = json.loads((place / "reports/pretrain.json").read_text())
    assert report["perplexity_after"] < report["perplexity_before"]
    before = load_file(start / "model.safetensors")
    after = load_file(place / "models/language/pretrained/model.safetensors")
    assert before.keys() == after.keys()
    changed = {name: after[name] - before[name] for name in before}
    changed = {name: change for name, change in changed.items() if change.abs().max() > 1e-6}
    changed = [change for change in changed.values() if min(change.shape) > 3]
    assert len(changed) >= 8
    for change in changed:
        values = torch.linalg.svdvals(change)
        assert values[3:].max() < 1e-3 * values[0]
    with pytest.raises(ValueError, match="lora_rank"):
        pretraining.run(with_pretrain(settings, lora_rank=3), fresh(root, light, "none", tmp_path))


def test_a_row_longer_than_the_model_reads_is_refused_with_words(shops, tmp_path) -> None:
    root, settings = shops("bert")
    tokenizer = AutoTokenizer.from_pretrained(root / "data/corpus/tokenizer")
    model, _ = open_model(settings.pretrain.encoder, tokenizer, 1)
    model.config.max_position_embeddings = 32
    assert pretraining._too_short(model, 64)
    assert not pretraining._too_short(model, 32)


@pytest.mark.slow
def test_two_processes_give_the_loss_of_one(shops, tmp_path) -> None:
    """Over gloo, by the command line; without dropout, so that only rounding differs."""
    root, settings = shops("bert")
    tokenizer = AutoTokenizer.from_pretrained(root / "data/corpus/tokenizer")
    model, _ = open_model(settings.pretrain.encoder, tokenizer, 1)
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.0
    save_model(model, tokenizer, tmp_path / "start")
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["pretrain"] |= BRIEF | {
        "encoder": str(tmp_path / "start"), "steps": 10, "precision": "fp32",
        "accumulate": 2, "eval_every": 5, "checkpoint_every": 4,
    }  # fmt: skip
    tables = []
    for processes in (1, 2):
        place = fresh(root, settings, f"of{processes}", tmp_path)
        (place / "params.yaml").write_text(yaml.safe_dump(params))
        start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        done = subprocess.run(
            [sys.executable, *start, "-m", "bowerbird", "pretrain"],
            cwd=place,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
            check=True,
            timeout=300,
            stdout=subprocess.PIPE,
            text=True,
        )
        # Processes that do not know of each other would each compute and report all of it.
        assert done.stdout.count('"perplexity_after"') == 1
        tables.append(pd.read_csv(place / "reports/pretrain.csv"))
    assert tables[0]["loss"].iloc[-1] < tables[0]["loss"].iloc[0]
    for name in ("loss", "mlm", "nsp", "held_out"):
        one, two = (table[name].dropna().to_numpy() for table in tables)
        assert two == pytest.approx(one, rel=2e-3)
