"""Helpers of the tests of annotate.py: a person who corrects, and a training of a moment."""

from dataclasses import replace
from types import SimpleNamespace

import train
from utils.annotating.state import Workplace, read_state
from utils.annotating.training import Training
from utils.images.reading import read_mask
from utils.labelme.writing import write_labelme
from utils.voc.folder import VocFolder


def correct(place: Workplace, dense: VocFolder) -> list[str]:
    """Save what is proposed as the dense masks have it. Returns the names of the pictures."""
    names = read_state(place).next
    for name in names:
        mask = read_mask(dense.mask_path(name))
        write_labelme(place.labelme(name), f"{name}.png", mask, dense.read_class_names())
    return names


def train_here(script, place, state, minutes, device, flags) -> Training:
    """Instead of `start_training`: one epoch of a tiny network, in this process."""
    number = len(state.rounds) + 1
    config = train.Config(voc_root=place.voc.root, save_dir=place.runs, run_name=f"round_{number:03d}")
    network = train.NetworkFlags(base_channels=4, depth=2)
    weights = place.weights if place.weights.is_file() else None
    machine = {"num_workers": 0, "device": "cpu", "precision": "fp32"}
    train.main(replace(config, network=network, model_path=weights, epochs=1, **machine))
    ended = SimpleNamespace(wait=lambda: 0, poll=lambda: 0, returncode=0)
    digests = {name: one.digest for name, one in state.saved.items()}
    return Training(ended, place.runs / config.run_name, place.runs / "log", number, digests)
