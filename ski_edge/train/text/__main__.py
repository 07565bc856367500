"""`python -m ski_edge.train.text --out DIR`: train the text tower of the small video models."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from ski_edge.errors import SkiEdgeError
from ski_edge.models.registry import parse_config
from ski_edge.train.text.distil import DistilConfig
from ski_edge.train.text.run import say, train_text, write_vocabulary


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ski_edge.train.text", description=__doc__)
    parser.add_argument("--out", type=Path, help="new folder for the tower and result.json")
    parser.add_argument("--vocabulary", type=Path, metavar="FILE", help="write a new words.json there instead")
    parser.add_argument("--texts", type=Path, metavar="DIR", help="folder of .txt and .csv files: labels, descriptions")
    parser.add_argument("--all-labels", action="store_true", help="hold no label set out: for a tower to ship")
    parser.add_argument("--epochs", type=int, default=DistilConfig().epochs)
    parser.add_argument("--lr", type=float, default=DistilConfig().lr)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as torch likes")
    chosen = parser.parse_args(arguments)
    if (chosen.out is None) == (chosen.vocabulary is None):
        parser.error("give either --out or --vocabulary")
    if chosen.threads > 0:
        torch.set_num_threads(chosen.threads)
    try:
        if chosen.vocabulary is not None:
            write_vocabulary(chosen.vocabulary, chosen.texts, say)
            return 0
        config = parse_config(
            DistilConfig, {"epochs": chosen.epochs, "lr": chosen.lr, "seed": chosen.seed}, "text distillation"
        )
        result = train_text(chosen.out, config, texts=chosen.texts, unseen=not chosen.all_labels, progress=say)
    except SkiEdgeError as error:
        say(f"error: {error}")
        return error.exit_code
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
