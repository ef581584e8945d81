"""train.py: fine-tuning from weights of ours and of others."""

import re

import pytest
import torch
from foreign_weights import small_pytorch_unet
from runs import scores_of
from scripts import cut_off, recode, save_untrained, tiny

from nets.foreign import recognise
from train import main
from utils.core.console import UserError
from utils.core.files import write_lines
from utils.models.checkpoint import load_checkpoint


def test_fine_tuning_keeps_what_fits(finished, folder, tmp_path, logs, capsys):
    start = finished[1] / "best.pth"
    recode(folder, {2: 1})
    write_lines(folder.class_names_path, ["background", "object"])
    # Steps too small to move a weight.
    main(tiny(folder, logs, model_path=start, base_channels=32, lr=1e-12, weight_decay=0.0))
    told = capsys.readouterr().err
    assert "start afresh: object; left out: cell, nucleus" in told
    before, after = load_checkpoint(start).model, load_checkpoint(logs / "run" / "last.pth").model
    heads = [name for name in after if after[name].shape != before[name].shape]
    assert {name.rpartition(".")[0] for name in heads} >= {"head", "side_heads.0"}
    assert all("head" in name for name in heads)
    for name in heads:
        assert torch.allclose(after[name][0], before[name][0], atol=1e-6)
        assert not torch.isclose(after[name][1], before[name][1:], atol=1e-6).any()
    learnt = [name for name in after if name not in heads and not re.search("running|num_batches", name)]
    assert learnt
    for name in learnt:
        assert torch.allclose(after[name], before[name], atol=1e-6), name


def test_classes_are_matched_by_name(folder, logs, capsys):
    main(tiny(folder, logs, epochs=1, run_name="first", deep_supervision=True))
    before = load_checkpoint(logs / "first" / "last.pth").model
    names = ["ground", "nucleus", "debris", "cell"]
    write_lines(folder.class_names_path, names)
    recode(folder, {1: 3, 2: 1})
    capsys.readouterr()
    still = {"lr": 1e-12, "weight_decay": 0.0, "epochs": 1}
    main(tiny(folder, logs, model_path=logs / "first" / "last.pth", **still))
    assert "ground, nucleus, cell; start afresh: debris" in capsys.readouterr().err
    after = load_checkpoint(logs / "run" / "last.pth").model
    heads = [name for name in after if "head" in name]
    assert len(heads) == 4
    for name in heads:
        for row, place in ((0, 0), (1, 2), (3, 1)):
            assert torch.allclose(after[name][row], before[name][place], atol=1e-6), name
        assert not torch.isclose(after[name][2], before[name], atol=1e-6).any()


def test_classes_without_names_are_taken_by_their_place(folder, logs, tmp_path):
    start = save_untrained(tmp_path / "a.pth", ["class_0", "class_1", "class_2"])
    main(tiny(folder, logs, model_path=start, epochs=1, lr=1e-12, weight_decay=0.0))
    before, after = (load_checkpoint(path).model for path in (start, logs / "run" / "last.pth"))
    assert torch.allclose(after["head.weight"], before["head.weight"], atol=1e-6)


def test_fine_tuning_with_the_same_classes_takes_everything(finished, logs, capsys):
    folder, run_dir = finished
    main(tiny(folder, logs, model_path=run_dir / "best.pth", epochs=1))
    assert "afresh" not in capsys.readouterr().err
    assert scores_of(logs / "run")[0][2] < scores_of(run_dir)[0][2]


def test_fine_tuning_reports_which_network_it_uses(finished, logs, capsys):
    folder, run_dir = finished
    main(tiny(folder, logs, model_path=run_dir / "best.pth", base_channels=8, norm="group", epochs=1))
    said = capsys.readouterr().err
    assert "base_channels 4 instead of 8, norm batch instead of group" in said
    settings = load_checkpoint(logs / "run" / "best.pth").settings
    assert (settings["base_channels"], settings["norm"], settings["depth"]) == (4, "batch", 2)


def test_fine_tuning_from_weights_of_another_repository(folder, logs, tmp_path, capsys):
    torch.save(small_pytorch_unet(classes=2), tmp_path / "theirs.pth")
    main(tiny(folder, logs, model_path=tmp_path / "theirs.pth", epochs=1, lr=1e-12, weight_decay=0.0))
    said = capsys.readouterr().err
    assert "Pytorch-UNet" in said and "it has 2 classes, the data have 3" in said
    learnt = load_checkpoint(logs / "run" / "last.pth").model
    theirs = recognise(small_pytorch_unet(classes=2)).model
    torch.testing.assert_close(learnt["encoder.levels.1.0.weight"], theirs["encoder.levels.1.0.weight"])
    assert learnt["head.weight"].shape[0] == 3


def test_fine_tuning_from_what_is_no_checkpoint(folder, logs, tmp_path):
    path = save_untrained(tmp_path / "weights.pth")
    cut_off(path)
    with pytest.raises(UserError) as caught:
        main(tiny(folder, logs, model_path=path))
    assert caught.value.subject == str(path)
    assert not logs.exists()
