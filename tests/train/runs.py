"""What a run left behind, for comparison with another."""

import torch

from utils.models.checkpoint import load_checkpoint
from utils.training.history import read_history


def scores_of(run_dir):
    """The history but for the times."""
    return [
        (row.epoch, row.lr, row.train_loss, row.val_loss, row.miou)
        for row in read_history(run_dir / "history.csv")
    ]


def weights_of(path):
    """All numbers of a checkpoint that training changes, by their place in it."""
    checkpoint = load_checkpoint(path)
    found = {f"model.{name}": value for name, value in checkpoint.model.items()}
    for name, value in (checkpoint.training or {}).get("model", {}).items():
        found[f"training.{name}"] = value
    return found


def differing(first, second):
    assert first.keys() == second.keys()
    return [name for name, value in first.items() if not torch.equal(value, second[name])]
