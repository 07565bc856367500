"""The sentence encoder's embeddings of many sentences, kept on disk so that a second run starts at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ski_edge.errors import BadInput
from ski_edge.files import read_text, write_text
from ski_edge.models.sentence import SentenceEncoder

_PART = 4096  # sentences between two progress lines
_TEXT, _ROWS = "sentences.txt", "embeddings.npy"  # one sentence a line, its row


def embed(encoder: SentenceEncoder, sentences: list[str], cache: Path, progress: Callable[[str], None]) -> np.ndarray:
    """float32 [N, 384], L2-normalised; only those that `cache` does not hold are computed, and then kept there."""
    known, rows = _read(cache, encoder.embed_dim)
    place = {sentence: i for i, sentence in enumerate(known)}
    # Long and short ones apart: a batch costs what its longest sentence costs.
    new = sorted({s for s in sentences if s not in place}, key=lambda s: (len(s), s))
    if new:
        parts = [rows]
        for start in range(0, len(new), _PART):
            parts.append(encoder.encode(new[start : start + _PART]).cpu().numpy())
            progress(f"embedded {min(start + _PART, len(new))} of {len(new)} sentences")
        rows = np.concatenate(parts)
        place |= {sentence: len(known) + i for i, sentence in enumerate(new)}
        _write(cache, known + new, rows)
    return rows[[place[sentence] for sentence in sentences]]


def _read(cache: Path, dim: int) -> tuple[list[str], np.ndarray]:
    if not (cache / _TEXT).is_file() or not (cache / _ROWS).is_file():
        return [], np.empty((0, dim), np.float32)
    sentences = read_text(cache / _TEXT, "cache of sentences").split("\n")[:-1]
    try:
        rows = np.load(cache / _ROWS, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BadInput(f"{cache / _ROWS} is damaged ({error}); delete the folder and start again") from error
    if rows.shape != (len(sentences), dim):
        raise BadInput(f"{cache}: {len(sentences)} sentences, embeddings {rows.shape}; delete the folder, start again")
    return sentences, rows


def _write(cache: Path, sentences: list[str], rows: np.ndarray) -> None:
    """Both files; the sentences last, so that a kill in between is noticed (their numbers differ)."""
    cache.mkdir(parents=True, exist_ok=True)
    temporary = cache / f"part-{_ROWS}"
    np.save(temporary, rows)
    temporary.replace(cache / _ROWS)
    write_text(cache / _TEXT, "".join(f"{sentence}\n" for sentence in sentences))
