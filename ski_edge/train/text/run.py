"""The whole way: corpus, the teacher's embeddings, training, numbers, a folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ski_edge.errors import BadInput
from ski_edge.files import write_json
from ski_edge.models import create_model
from ski_edge.models.archs import clip_arch
from ski_edge.models.clip import ClipModel
from ski_edge.models.sentence import SentenceEncoder
from ski_edge.train.text.corpus import Corpus, build
from ski_edge.train.text.distil import DistilConfig, Pairs, distil, text_parameters
from ski_edge.train.text.grammar import lists
from ski_edge.train.text.measure import agreement, mean_cosine
from ski_edge.train.text.teacher import embed
from ski_edge.train.text.tokenizer import save_tokenizer, train_tokenizer
from ski_edge.train.text.tower import save_text_tower

ARCH = "mini"
RESULT = "result.json"
WORDS, GENERATED = 7000, 24_000  # single words and generated phrases of the corpus
_LANGUAGE = 20_000  # words whose pieces the vocabulary learns
Progress = Callable[[str], None]


def corpus_of(
    encoder: SentenceEncoder, texts: Path | None, *, unseen: bool, seed: int, words: int, generated: int
) -> Corpus:
    """The sentences of a run; texts: folder with more of them."""
    return build(encoder.words(words), texts, generated=generated, unseen=unseen, seed=seed)


def write_vocabulary(path: Path, texts: Path | None, progress: Progress) -> None:
    """Train the tokenizer of ARCH; labels that are held out must meet it as a new label will, so they are left out."""
    encoder = SentenceEncoder()
    corpus = corpus_of(encoder, texts, unseen=True, seed=0, words=WORDS, generated=GENERATED)
    tokenizer = train_tokenizer(corpus.train, encoder.words(_LANGUAGE), clip_arch(ARCH).vocab_size)
    save_tokenizer(tokenizer, path)
    progress(f"{path}: {tokenizer.get_vocab_size()} ids, {path.stat().st_size / 1e3:.0f} kB")


def train_text(
    out: Path,
    config: DistilConfig,
    *,
    texts: Path | None = None,
    unseen: bool = True,
    words: int = WORDS,
    generated: int = GENERATED,
    progress: Progress = lambda line: None,
) -> dict[str, Any]:
    """Train a text tower into `out`; returns what result.json holds. The embeddings are kept in `out/../cache`."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"--out {out} exists and is not an empty folder; give a new one")
    encoder = SentenceEncoder()
    corpus = corpus_of(encoder, texts, unseen=unseen, seed=config.seed, words=words, generated=generated)
    counts = {kind: len(sentences) for kind, sentences in corpus.held_out.items()}
    progress(f"{len(corpus.train)} sentences to learn, held out: {counts}")

    def pairs(sentences: list[str]) -> Pairs:
        return Pairs.of(sentences, embed(encoder, sentences, out.parent / "cache", progress), ARCH)

    train = pairs(corpus.train)
    held_out = {kind: pairs(sentences) for kind, sentences in corpus.held_out.items() if sentences}
    model = create_model("vificlip", arch=ARCH, seed=config.seed)
    began = time.monotonic()

    def report(row: dict[str, float]) -> None:
        progress(
            f"epoch {row['epoch']}/{config.epochs}: loss {row['loss']:.4f}, cosine {row['cosine']:.4f}, "
            f"{row['seconds']:.0f} s"
        )

    distil(model, train, config, report)
    result = {
        "arch": ARCH,
        "parameters": sum(p.numel() for p in text_parameters(model.clip).values()),
        "sentences": {"train": len(corpus.train), "held_out": counts},
        "config": config.model_dump(mode="json"),
        "train_s": round(time.monotonic() - began, 1),
        "torch": torch.__version__,
        **_measure(model, encoder, corpus, held_out),
    }
    save_text_tower(model, out)
    write_json(out / RESULT, result)
    return result


def _measure(model: ClipModel, encoder: SentenceEncoder, corpus: Corpus, held_out: dict[str, Pairs]) -> dict[str, Any]:
    """Held-out sentences, and every label set bare and in the first template."""
    numbers: dict[str, Any] = {"held_out": {kind: mean_cosine(model, rows) for kind, rows in held_out.items()}}
    for part, sets in (("unseen", corpus.unseen), ("known", corpus.known)):
        numbers[part] = {}
        for name, labels in sets.items():
            for template in ("{}", lists()["plain"][0]):
                prompts = [template.replace("{}", label) for label in labels]
                rows = Pairs.of(prompts, encoder.encode(prompts).numpy(), ARCH)
                numbers[part][f"{name}: {template}"] = {"labels": len(labels), **agreement(model, rows)}
    return numbers


def say(line: str) -> None:
    """Progress goes to stderr; stdout is for results."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
