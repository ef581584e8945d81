"""Whether two runs left the same numbers behind."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent / "train"))

from runs import scores_of, weights_of

from utils.models.checkpoint import load_checkpoint


def compare_runs(one: Path, other: Path) -> list[str]:
    """What differs: weights, averages, optimizer, history, best score."""
    wrong = [] if scores_of(one) == scores_of(other) else ["history"]
    for name in ("last.pth", "best.pth"):
        first, second = weights_of(one / name), weights_of(other / name)
        wrong += [f"{name} {key}" for key in first if not torch.equal(first[key], second[key])]
    first, second = (load_checkpoint(run / "last.pth").training for run in (one, other))
    moments = [training["optimizer"]["state"] for training in (first, second)]
    for number, values in moments[0].items():
        wrong += [
            f"{key} of parameter {number}"
            for key, value in values.items()
            if not torch.equal(value, moments[1][number][key])
        ]
    return wrong + [key for key in ("best", "best_matrix", "averaged", "epoch") if first[key] != second[key]]
