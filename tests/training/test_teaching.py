"""What the averaged weights teach: labels, exchanged parts, gradients, statistics, and when it ends."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from nets.config import NetworkConfig
from nets.unet import build
from utils.core.device import Precision
from utils.training import teaching
from utils.training.engine import Trainer, make_optimizer
from utils.training.losses import criterion
from utils.training.schedule import Phase, Schedule
from utils.training.teaching import Teaching, exchange_parts, label, teach
from utils.training.unlabelled import Views

CPU = torch.device("cpu")
ON = {"before": 0.5, "began": 0.0}


def trainer_of(accumulate: int = 1, **settings: object) -> Trainer:
    torch.manual_seed(0)
    net = build(
        NetworkConfig(**{"num_classes": 3, "in_channels": 3, "base_channels": 4, "depth": 2} | settings)
    )
    groups = [{"params": list(net.parameters()), "factor": 1.0}]
    optimizer = make_optimizer("sgd", groups, 0.05, 1e-4, 0.9, CPU)
    schedule = Schedule([Phase(50, 2, 0.05)], 4)
    fp32 = Precision(CPU, None)
    trainer = Trainer(net, optimizer, schedule, lambda x: x.float() / 255, fp32, accumulate=accumulate)
    trainer.teaching = Teaching(**ON)
    trainer.net.train()
    return trainer


def views(count: int = 3, side: int = 32) -> Views:
    """Strokes of class 1 in the first crop."""
    generator = torch.Generator().manual_seed(1)
    weak, strong = (
        torch.randint(256, (count, 3, side, side), generator=generator).to(torch.uint8) for _ in range(2)
    )
    known = torch.full((count, side, side), 255, dtype=torch.uint8)
    known[0, 4:8] = 1
    return Views(weak, strong, known)


def annotated() -> list[Tensor]:
    images, _, masks = views(2)
    return [images, masks % 3]


class Teacher(nn.Module):
    """Logits from the picture itself: the channels, eight pixels less on each side."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, 8:-8, 8:-8]


def test_the_teacher_labels_what_it_is_sure_of_and_what_is_known_stays():
    trainer = trainer_of()
    trainer.average.module, trainer.normalise = Teacher(), lambda x: x.float()
    weak = torch.zeros(1, 3, 24, 24, dtype=torch.uint8)
    weak[0, 2, :, :11] = 9  # sure of class 2
    weak[0, 1, :, 11:] = 1  # rather 1: probability e / (e + 2) = 0.58
    known = torch.full((1, 24, 24), 255, dtype=torch.uint8)
    known[0, 9] = 0
    target, sure = label(trainer, weak, known)
    expected = torch.full((24, 24), 255, dtype=torch.uint8)
    expected[8:16, 8:11] = 2
    expected[9] = 0
    assert torch.equal(target[0], expected)
    assert sure.item() == 3 / 8


def test_exchanged_parts_are_a_rectangle_of_another_crop_and_of_its_labels(monkeypatch):
    monkeypatch.setattr(teaching, "CUT_SHARE", 1.0)
    marks = torch.arange(3)[:, None, None].expand(3, 40, 60)
    for seed in range(20):
        torch.manual_seed(seed)
        images, targets = exchange_parts(marks[:, None].float(), marks.to(torch.uint8))
        assert torch.equal(images[:, 0], targets.float())
        changed = targets != marks
        assert all(torch.equal(one, changed[0]) for one in changed)
        assert [set(one[changed[0]].tolist()) for one in targets] == [{2}, {0}, {1}]
        rows, columns = (changed[0].any(axis).sum().item() for axis in (1, 0))
        assert changed[0].sum() == rows * columns
        assert 0.15 < rows * columns / 2400 <= 0.5
    alone = marks[:1, None].float(), marks[:1].to(torch.uint8)
    assert exchange_parts(*alone) == alone


def test_half_of_the_steps_exchange_parts():
    torch.manual_seed(0)
    marks = torch.arange(2)[:, None, None].expand(2, 16, 16)
    changed = [not torch.equal(exchange_parts(marks[:, None].float(), marks)[1], marks) for _ in range(60)]
    assert 20 < sum(changed) < 40


@pytest.mark.parametrize("settings", [{}, {"norm": "group", "deep_supervision": True}, {"padding": "valid"}])
def test_gradients_are_those_of_the_mean_over_all_pixels(monkeypatch, settings):
    """Against autograd's cross-entropy on the labels of the teacher."""
    monkeypatch.setattr(teaching, "CUT_SHARE", 0.0)
    monkeypatch.setattr(teaching, "CONFIDENCE", 0.4)
    side = 216 if "padding" in settings else 32
    trainer, crops = trainer_of(**settings), views(side=side)
    before = copy.deepcopy(trainer.average.state_dict())
    sure = teach(trainer, crops, 0.25)
    found = [parameter.grad.clone() for parameter in trainer.net.parameters()]
    assert all(torch.equal(value, before[name]) for name, value in trainer.average.state_dict().items())

    net = trainer_of(**settings).net
    target, expected_sure = label(trainer, crops.weak, crops.known)
    assert sure == expected_sure
    assert 0.05 < expected_sure < 0.95
    outputs = net(crops.strong.float() / 255)
    outputs, total = [outputs] if isinstance(outputs, Tensor) else outputs, 0.0
    for level, logits in enumerate(outputs):
        margin = (side - logits.shape[-1]) // 2 if "padding" in settings else 0
        labels = target[:, margin : side - margin, margin : side - margin][:, :: 1 << level, :: 1 << level]
        mean = nn.functional.cross_entropy(logits, labels.long(), ignore_index=255)
        total = total + mean * (0.8 / (1 << level) if level else 1.0)
    inner = target[:, margin : side - margin, margin : side - margin] if "padding" in settings else target
    (total * (inner != 255).float().mean() * 0.25).backward()
    for one, parameter in zip(found, net.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad, rtol=1e-3, atol=1e-5)


def test_running_statistics_of_batch_norm_are_those_of_a_step_without():
    plain, taught = trainer_of(), trainer_of()
    losses = [plain.step(30, annotated(), criterion), taught.step(30, [*annotated(), views()], criterion)]
    assert losses[0] == losses[1]
    other = taught.net.state_dict()
    for name, value in plain.net.state_dict().items():
        is_statistic = "running" in name or "batches" in name
        assert torch.equal(value, other[name]) is is_statistic or not value.any(), name


def test_a_teacher_without_weight_changes_nothing():
    plain, taught = trainer_of(), trainer_of()
    taught.teaching = Teaching(before=0.5, began=0.9)
    plain.step(30, annotated(), criterion)
    taught.step(30, [*annotated(), views()], criterion)
    other = taught.net.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in plain.net.state_dict().items())
    assert taught.teaching.steps == 0


def test_parts_of_a_batch_teach_what_the_whole_does(monkeypatch):
    monkeypatch.setattr(teaching, "CONFIDENCE", 0.4)
    states = []
    for parts in (1, 2):
        trainer = trainer_of(accumulate=parts, norm="group")
        trainer.step(30, [*annotated(), views(4)], criterion)
        states.append((trainer.net.state_dict(), trainer.teaching.state()))
    assert states[0][1] == pytest.approx(states[1][1])
    for name, value in states[0][0].items():
        torch.testing.assert_close(value, states[1][0][name], rtol=0, atol=1e-6)


def test_teaching_begins_after_a_share_of_the_run_and_its_weight_rises(capsys):
    one = Teaching()
    assert not one.awaits_score(teaching.START - 0.01)
    assert not one.awaits_score(1.0)  # nothing would follow
    one.judge(0.7, teaching.START - 0.01)
    assert not one.is_on
    assert one.awaits_score(0.35)
    one.judge(0.7, 0.35)
    assert one.is_on
    assert "70.00%" in capsys.readouterr().out
    found = [one.weight(share) for share in (0.3, 0.35, 0.35 + teaching.RAMP / 2, 0.35 + teaching.RAMP, 1)]
    assert found == pytest.approx([0, 0, 0.5, 1, 1])


def test_who_knows_little_does_not_teach(capsys):
    one = Teaching()
    assert not one.judge(teaching.LEAST - 0.01, 0.3)
    assert not one.is_on
    assert not one.awaits_score(0.6)
    assert "off: mIoU 39.00% is too low to teach; it takes 40%" in capsys.readouterr().out
    assert one.describe() == "have not taught: mIoU was 39.00%"


def test_teaching_ends_where_validation_does_not_rise(capsys):
    one = Teaching()
    one.judge(0.5, 0.3)
    full = 0.3 + teaching.RAMP
    # Not yet for long enough, or higher in between.
    scores = [(0.1, full), (0.5, full + 0.1), (0.51, full + 0.12), (0.4, full + 0.26)]
    for miou, progress in scores:
        assert not one.awaits_score(progress)
        one.judge(miou, progress)
        assert one.is_on
    capsys.readouterr()
    assert one.awaits_score(full + 0.28)
    one.judge(0.5, full + 0.28)
    assert not one.is_on
    assert one.weight(0.8) == 0
    said = capsys.readouterr().out
    assert said.startswith("pictures without annotation  off: mIoU 50.00%")
    one.judge(0.9, 0.8)
    assert not one.is_on
    assert not one.awaits_score(0.95)
    assert not capsys.readouterr().out
    assert "then no more" in Teaching(before=0.5, ended=True, steps=1).describe()


def test_a_score_that_is_no_number_does_not_count_as_higher():
    one = Teaching()
    one.judge(math.nan, 0.3)
    assert one.before == 0
    assert not one.is_on
    one = Teaching(before=0.5)
    one.judge(math.nan, 0.9)
    assert one.ended


def test_what_came_of_it_is_told():
    one = Teaching(**ON)
    assert "too short" in one.describe()
    one.add(torch.tensor(0.75))
    one.add(torch.tensor(0.25))
    assert "2 steps; the teacher was sure of 50%" in one.describe()
    assert one.state() == {**ON, "risen": 0.0, "ended": False, "steps": 2, "sure": 1.0}
