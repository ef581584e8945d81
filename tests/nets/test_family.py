"""What every member of the family must do."""

import io
from dataclasses import fields
from typing import Literal, get_args, get_origin

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from family import FAMILY, SMALL, assert_close, each_member, make, picture, squares

from nets.config import NetworkConfig
from nets.unet import UNet


@each_member
@pytest.mark.parametrize("size", [(64, 64), (65, 47), (33, 96), (1, 1)])
def test_logits_have_the_size_of_the_picture(member, size):
    net = make(**member).eval()
    with torch.inference_mode():
        assert net(picture(member, *size, count=1)).shape == (1, member["num_classes"], *size)


@each_member
def test_gradients_reach_every_parameter(member):
    net = make(**member).train()
    squares(net(picture(member))).backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


@each_member
def test_state_dict_round_trip_gives_equal_logits(member):
    net, other = make(**member).eval(), make(**member).eval()
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    with torch.inference_mode():
        assert torch.equal(net(picture(member)), other(picture(member)))


@each_member
def test_pictures_of_a_batch_do_not_influence_each_other_in_eval(member):
    net, images = make(**member).eval(), picture(member)
    with torch.inference_mode():
        together, alone = net(images), torch.cat([net(images[:1]), net(images[1:])])
    assert_close(together, alone)


@each_member
def test_channels_last_equals_contiguous(member):
    net, images = make(**member).eval(), picture(member)
    with torch.inference_mode():
        contiguous = net(images)
        channels_last = net.to(memory_format=torch.channels_last)(
            images.to(memory_format=torch.channels_last)
        )
    assert_close(channels_last, contiguous)


@each_member
def test_bfloat16_is_close_to_float32(member):
    net, images = make(**member).eval(), picture(member)
    with torch.inference_mode():
        exact = net(images)
        with torch.autocast("cpu", torch.bfloat16):
            rough = net(images).float()
    assert_close(rough, exact, 0.06)


@each_member
def test_freezing_holds_parameters_and_statistics_still_and_survives_train(member):
    net = make(**member)
    net.freeze_encoder(True)
    net.train()
    encoder = {k: v.clone() for k, v in net.encoder.state_dict().items()}
    head = net.head.weight.clone()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, weight_decay=0.1)

    def step() -> None:
        optimizer.zero_grad()
        squares(net(picture(member))).backward()
        optimizer.step()

    step()
    step()
    assert all(torch.equal(v, encoder[k]) for k, v in net.encoder.state_dict().items())
    assert not torch.equal(net.head.weight, head)
    net.freeze_encoder(False)
    assert all(p.requires_grad for p in net.parameters())
    assert all(m.training for m in net.modules())
    step()
    moved = {k: v.clone() for k, v in net.encoder.state_dict().items()}
    assert any(not torch.equal(v, encoder[k]) for k, v in moved.items())
    # The momentum that the encoder has by now does not move it either.
    net.freeze_encoder(True)
    step()
    assert all(torch.equal(v, moved[k]) for k, v in net.encoder.state_dict().items())


@pytest.mark.parametrize("name", ["plain", "vgg_bn", "resnet50", "deep supervision"])
def test_saving_memory_changes_neither_loss_nor_gradients_nor_statistics(name):
    grads, running = [], []
    for save in (False, True):
        net = make(**FAMILY[name]).train()
        if save:
            net.save_memory()
        squares(net(picture(FAMILY[name]))).backward()
        grads.append([p.grad for p in net.parameters()])
        running.append([b for key, b in net.named_buffers() if "running" in key])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)
    for one, other in zip(*running, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)


def saved_bytes(net: UNet, images: torch.Tensor) -> int:
    total = 0

    def count(tensor):
        nonlocal total
        total += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
        net(images).sum()
    return total


def test_saving_memory_saves_memory():
    plain, saving = make(**FAMILY["plain"]).train(), make(**FAMILY["plain"]).train()
    saving.save_memory()
    assert saved_bytes(saving, picture(SMALL)) < 0.5 * saved_bytes(plain, picture(SMALL))


@pytest.mark.parametrize("arguments", [SMALL, FAMILY["deep"], FAMILY["vgg"], FAMILY["resnet50"]])
def test_deep_supervision_scores_coarser_maps_in_training_alone(arguments):
    net = make(**arguments, deep_supervision=True)
    image = picture(arguments, 50, 75)
    outputs = net.train()(image)
    levels = 1 + len(net.side_heads)
    sizes = [(-(-50 // 2**k), -(-75 // 2**k)) for k in range(levels)]
    assert [tuple(x.shape[-2:]) for x in outputs] == sizes
    squares(outputs).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.side_heads.parameters())
    plain = make(**arguments)
    plain.load_state_dict(net.state_dict(), strict=False)
    with torch.no_grad():
        assert torch.equal(net.eval()(image), plain.eval()(image))


def test_the_network_learns_a_picture_by_heart():
    net = make(**SMALL, in_channels=1)
    rng = np.random.default_rng(0)
    mask = torch.from_numpy(rng.integers(0, 3, (1, 4, 4))).repeat_interleave(8, 1).repeat_interleave(8, 2)
    image = mask[:, None].float() + 0.1 * torch.randn(1, 1, 32, 32)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.02)
    for _ in range(40):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(image), mask)
        loss.backward()
        optimizer.step()
    assert (net(image).argmax(1) == mask).float().mean() > 0.98


def test_every_part_of_the_family_is_covered():
    for field in fields(NetworkConfig):
        if get_origin(field.type) is Literal:
            used = {getattr(NetworkConfig(**member), field.name) for member in FAMILY.values()}
            assert used == set(get_args(field.type))
