"""The small vocabulary: whole words where a corpus uses them often, pieces of words for everything else."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from ski_edge.bundle.tokenizer import build_words_tokenizer
from ski_edge.errors import BadInput
from ski_edge.files import write_text

_SPECIAL = 4  # what build_words_tokenizer adds
_PIECES = 0.22  # share of the vocabulary that is pieces: with fewer, rare words fall into single letters
_COMMON = 0.12  # share that is the commonest words of the language, whatever the corpus says
_LONG = 10  # words; longer sentences are descriptions, whose words people seldom type
_ALPHABET = [*string.ascii_lowercase, *string.digits, *string.punctuation, *(f"##{c}" for c in string.ascii_lowercase)]


def train_tokenizer(sentences: Iterable[str], language: list[str], size: int) -> Tokenizer:
    """A tokenizer of `size` ids; the same input gives the same file.

    language: words, commonest first. Those that do not become whole words teach the pieces.
    """
    if size < 2 * len(_ALPHABET):
        raise BadInput(f"a vocabulary of {size} has no room beside its {len(_ALPHABET)} characters; ask for more")
    short_ones = (sentence.lower() for sentence in sentences if len(sentence.split()) <= _LONG)
    counts = Counter(word for sentence in short_ones for word in re.findall(r"[a-z]{2,}", sentence))
    rank = {word: i for i, word in enumerate(language)}
    by_use = sorted(counts.keys() | rank.keys(), key=lambda w: (-counts[w], rank.get(w, len(rank)), w))
    pieces_wanted = int(size * _PIECES)
    room = size - _SPECIAL - len(_ALPHABET) - pieces_wanted
    whole = list(dict.fromkeys([*language[: int(size * _COMMON)], *by_use]))[:room]
    known = {*_ALPHABET, *whole}
    pieces = [piece for piece in _pieces([w for w in by_use if w not in known], 2 * size) if piece not in known]
    words = [*_ALPHABET, *whole, *pieces[:pieces_wanted]]
    # A corpus too small to fill the vocabulary leaves ids that no text has.
    words += [f"##<unused {i}>" for i in range(size - _SPECIAL - len(words))]
    return build_words_tokenizer(words)


def save_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    write_text(path, tokenizer.to_str(pretty=False))


def _pieces(words: list[str], size: int) -> list[str]:
    """Beginnings and continuations of words, by how often they help."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    # The alphabet is given so that its ids, which break ties, do not depend on the order of a hash table.
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=2, show_progress=False, special_tokens=_ALPHABET, limit_alphabet=0
    )
    tokenizer.train_from_iterator(words, trainer)
    vocab = tokenizer.get_vocab()
    return sorted(vocab, key=vocab.__getitem__)
