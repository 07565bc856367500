"""Tokenizers as one `tokenizer.json` of the `tokenizers` library: no torch on the device.

Two kinds: CLIP's byte pairs, and the small vocabulary of whole words and word pieces that ships as `words.json` (made
by `ski_edge.train.text`). Both end in the token with the highest id, where the text tower is read.

CLIP's token ids equal open_clip's `SimpleTokenizer` (which runs `ftfy`, then HTML unescaping, whitespace collapse and
lower case) for ordinary text; the parts of `ftfy` that class names meet - curly quotes, ligatures, full-width
forms, composed accents - are normalisers here. Repairing broken encodings ("mojibake") is not imitated.
"""

from __future__ import annotations

import html
import unicodedata
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from ski_edge.errors import BadInput

START, END = "<start_of_text>", "<end_of_text>"
PAD, UNKNOWN = "<pad>", "<unknown>"  # of the small vocabulary; byte pairs know everything
WORDS = "words.json"  # beside this file
_WORDS = r"<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
_QUOTES = {"[\u02bc\u2018-\u201b]": "'", "[\u201c-\u201f]": '"'}
# What ftfy takes apart: ligatures and digraphs, and full- and half-width forms (Unicode's compatibility mappings).
_COMPATIBLE = "ĲĳŉǄǅǆǇǈǉǊǋǌǱǲǳﬀﬁﬂﬃﬄﬆ" + "".join(map(chr, [0x3000, *range(0xFF01, 0xFFF0)]))


def build_clip_tokenizer(merges: list[tuple[str, str]]) -> Tokenizer:
    """A `tokenizers.Tokenizer` from CLIP's merge list, in rank order (48,894 pairs)."""
    alphabet = _byte_alphabet()
    words = [*alphabet, *(c + "</w>" for c in alphabet), *(a + b for a, b in merges), START, END]
    vocab = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, end_of_word_suffix="</w>"))
    plain = {c: p for c in _COMPATIBLE if (p := unicodedata.normalize("NFKC", c)) != c} | {"ﬅ": "ſt"}
    tokenizer.normalizer = normalizers.Sequence(
        [
            *(normalizers.Replace(a, b) for a, b in plain.items()),
            *(normalizers.Replace(Regex(a), b) for a, b in _QUOTES.items()),
            normalizers.NFC(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
            normalizers.Lowercase(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, vocab[START]), (END, vocab[END])]
    )
    return tokenizer


def build_words_tokenizer(words: list[str]) -> Tokenizer:
    """A `tokenizers.Tokenizer` from whole words and pieces (`##ing`), without the four special tokens.

    Longest piece first (WordPiece). Accents are stripped and digits stand alone, so a small alphabet covers most
    text; what it does not cover becomes the unknown token. Special tokens cannot be typed: their text is split first.
    """
    vocab = {word: i for i, word in enumerate([PAD, UNKNOWN, START, *words, END])}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocab, unk_token=UNKNOWN, max_input_chars_per_word=40))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            *(normalizers.Replace(Regex(a), b) for a, b in _QUOTES.items()),
            normalizers.BertNormalizer(strip_accents=True, lowercase=True),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, vocab[START]), (END, vocab[END])]
    )
    return tokenizer


def _byte_alphabet() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, in CLIP's vocabulary order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(rest))]


class ClipTokenizer:
    """Text -> int64 token ids [K, L], padded with 0; L is the longest prompt's length, at most `context_length`.

    The text transformer is causal and reads the feature at the end token, so trailing padding changes nothing
    and shorter rows are exact.
    """

    def __init__(self, path: Path, context_length: int) -> None:
        self._path = path
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exception
            raise BadInput(f"{path} is not a tokenizer.json: {error}; export the bundle again") from error
        self._tokenizer.enable_truncation(context_length)

    def encode(self, texts: list[str]) -> np.ndarray:
        """Token ids of each text, between the start and end token; longer texts are cut before the end token."""
        try:
            rows = [self._tokenizer.encode(html.unescape(html.unescape(text))).ids for text in texts]
        except Exception as error:  # a tokenizer.json that loads but cannot work
            raise BadInput(f"{self._path} cannot encode text: {error}; export the bundle again") from error
        ids = np.zeros((len(rows), max(map(len, rows), default=0)), np.int64)
        for row, target in zip(rows, ids, strict=True):
            target[: len(row)] = row
        return ids
