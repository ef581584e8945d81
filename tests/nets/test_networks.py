"""What every member of the family must do."""

import copy
import io
import math
import shutil
from dataclasses import fields
from typing import Literal, get_args, get_origin

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scripts import ROOT, start
from torch import nn

from nets.config import NetworkConfig
from nets.fold import fold_batch_norm, fuse_relu
from nets.layers import ConvReLU, JoinedConv2d, MaxPool, UpConv2d
from nets.unet import UNet, build

PAPER = {"num_classes": 2, "in_channels": 1, "base_channels": 4, "norm": "none", "padding": "valid"}
SMALL = {"num_classes": 3, "base_channels": 4, "depth": 2}
FAMILY = {
    "plain": SMALL,
    "gray": {**SMALL, "in_channels": 1},
    "five channels": {**SMALL, "in_channels": 5},
    "deep": {**SMALL, "depth": 4},
    "group norm": {**SMALL, "norm": "group"},
    "no norm": {**SMALL, "norm": "none"},
    "bilinear": {**SMALL, "upsampling": "bilinear"},
    "Pytorch-UNet's bilinear": {**SMALL, "upsampling": "aligned", "pad_picture": False},
    "Pytorch-UNet's transposed": {**SMALL, "pad_picture": False},
    "add": {**SMALL, "skip": "add"},
    "add bilinear": {**SMALL, "skip": "add", "upsampling": "bilinear"},
    "dropout": {**SMALL, "dropout": 0.5},
    "vgg": {"num_classes": 3, "backbone": "vgg"},
    "vgg_bn": {"num_classes": 3, "backbone": "vgg_bn", "in_channels": 1},
    "unet-pytorch's vgg": {"num_classes": 3, "backbone": "vgg", "norm": "none", "upsampling": "aligned"},
    "resnet50": {"num_classes": 3, "backbone": "resnet50", "upsampling": "bilinear"},
    "resnet50 add": {"num_classes": 3, "backbone": "resnet50", "skip": "add"},
    "unet-pytorch's resnet50": {
        "num_classes": 3,
        "backbone": "resnet50",
        "norm": "none",
        "upsampling": "aligned",
    },
    "deep supervision": {**SMALL, "depth": 4, "deep_supervision": True},
    "deep supervision vgg": {"num_classes": 3, "backbone": "vgg", "deep_supervision": True},
    "deep supervision resnet50": {"num_classes": 3, "backbone": "resnet50", "deep_supervision": True},
    "paper": PAPER,
}


def make(**arguments) -> UNet:
    torch.manual_seed(0)
    return build(NetworkConfig(**{"in_channels": 3, **arguments}))


def picture(net_arguments: dict, height: int = 64, width: int = 64, count: int = 2) -> torch.Tensor:
    """A picture whose logits are (height, width): unpadded convolutions take 92 pixels off each side."""
    margin = 92 if net_arguments.get("padding") == "valid" else 0
    channels, generator = net_arguments.get("in_channels", 3), torch.Generator().manual_seed(1)
    return torch.randn(count, channels, height + 2 * margin, width + 2 * margin, generator=generator)


def assert_close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-4) -> None:
    """Largest difference relative to the largest value: logits of untrained deep networks can be large."""
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def squares(outputs: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
    """A loss of what a network returns in training: logits, or with deep supervision a list of them."""
    return sum(x.square().mean() for x in ([outputs] if isinstance(outputs, torch.Tensor) else outputs))


@pytest.fixture(params=FAMILY.values(), ids=FAMILY.keys())
def member(request) -> dict:
    return request.param


@pytest.mark.parametrize("size", [(64, 64), (65, 47), (33, 96), (1, 1)])
def test_logits_have_the_size_of_the_picture(member, size):
    net = make(**member).eval()
    with torch.inference_mode():
        assert net(picture(member, *size, count=1)).shape == (1, member["num_classes"], *size)


def test_gradients_reach_every_parameter(member):
    net = make(**member).train()
    squares(net(picture(member))).backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


def test_state_dict_round_trip_gives_equal_logits(member):
    net, other = make(**member).eval(), make(**member).eval()
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    with torch.inference_mode():
        assert torch.equal(net(picture(member)), other(picture(member)))


def test_pictures_of_a_batch_do_not_influence_each_other_in_eval(member):
    net, images = make(**member).eval(), picture(member)
    with torch.inference_mode():
        together, alone = net(images), torch.cat([net(images[:1]), net(images[1:])])
    assert_close(together, alone)


def test_channels_last_equals_contiguous(member):
    net, images = make(**member).eval(), picture(member)
    with torch.inference_mode():
        contiguous = net(images)
        channels_last = net.to(memory_format=torch.channels_last)(
            images.to(memory_format=torch.channels_last)
        )
    assert_close(channels_last, contiguous)


def test_bfloat16_is_close_to_float32(member):
    net, images = make(**member).eval(), picture(member)
    with torch.inference_mode():
        exact = net(images)
        with torch.autocast("cpu", torch.bfloat16):
            rough = net(images).float()
    assert_close(rough, exact, 0.06)


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


def test_pooling_keeps_no_places_of_maxima_and_has_the_same_gradient():
    x = torch.randn(2, 3, 8, 6, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.dtype) or t, lambda t: t):
        loss = MaxPool().train()(x).square().sum()
    loss.backward()
    assert torch.int64 not in kept
    expected = torch.autograd.grad(F.max_pool2d(x, 2).square().sum(), x)[0]
    assert torch.equal(x.grad, expected)


@pytest.mark.parametrize("training", [True, False])
def test_up_convolution_is_a_transposed_one(training):
    layer = UpConv2d(4, 3).double().train(training)
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    found, expected = layer(x), F.conv_transpose2d(x, layer.weight, layer.bias, stride=2)
    torch.testing.assert_close(found, expected)
    inputs = [x, layer.weight, layer.bias]
    gradients = (torch.autograd.grad(y.square().sum(), inputs) for y in (found, expected))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_up_convolution_keeps_the_number_format_of_autocast():
    layer, x = UpConv2d(4, 3).train(), torch.randn(2, 4, 5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        enlarged = layer(x)
    assert enlarged.dtype == torch.bfloat16
    enlarged.float().sum().backward()
    assert layer.bias.grad.dtype == torch.float32 and layer.bias.grad.tolist() == [240.0] * 3


@pytest.mark.parametrize("bias", [True, False])
def test_joined_convolution_equals_that_of_the_joined_map(bias):
    maps = [torch.randn(2, channels, 9, 7, dtype=torch.float64, requires_grad=True) for channels in (3, 5)]
    layer = JoinedConv2d(8, 4, 3, padding=1, bias=bias).double()
    expected = F.conv2d(torch.cat(maps, dim=1), layer.weight, layer.bias, padding=1)
    found = layer(*maps)
    torch.testing.assert_close(found, expected)
    inputs = [*maps, *layer.parameters()]
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


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


def test_deep_supervision_needs_maps_that_halve_evenly():
    for arguments in (PAPER, {**SMALL, "pad_picture": False}):
        with pytest.raises(ValueError, match="halve evenly"):
            make(**arguments, deep_supervision=True)


def test_parameter_counts_worked_out_by_hand():
    def count(net):
        return sum(p.numel() for p in net.parameters())

    assert (
        count(make(num_classes=2, in_channels=1, base_channels=64, norm="none", padding="valid"))
        == 31_030_658
    )
    # One level: two convolutions 3→4, 4→4; two 4→8, 8→8; up 8→4; two 8→4, 4→4; head 4→3; two norm values a channel.
    convolutions = 9 * (3 * 4 + 4 * 4 + 4 * 8 + 8 * 8 + 8 * 4 + 4 * 4) + (8 * 4 * 4 + 4) + (4 * 3 + 3)
    assert count(make(num_classes=3, base_channels=4, depth=1)) == convolutions + 2 * (4 + 4 + 8 + 8 + 4 + 4)


def test_the_papers_network_has_the_papers_sizes():
    with torch.device("meta"):
        net = build(NetworkConfig(2, 1, base_channels=64, norm="none", padding="valid"))
        assert net(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)


@pytest.mark.parametrize("height, width", [(188, 188), (185, 201), (220, 187)])
def test_unpadded_convolutions_take_92_pixels_off_each_side_of_any_picture(height, width):
    with torch.inference_mode():
        assert make(**PAPER)(torch.zeros(2, 1, height, width)).shape == (2, 2, height - 184, width - 184)


def test_unpadded_logits_do_not_depend_on_what_lies_beyond_their_reach():
    net, image = make(**PAPER).eval(), picture(PAPER, 36, 36, count=1)
    with torch.inference_mode():
        whole, part = net(image), net(image[..., 16:204, 16:204])
    assert_close(part, whole[..., 16:20, 16:20])


def test_too_small_a_picture_for_unpadded_convolutions_names_the_smallest():
    with pytest.raises(ValueError, match="at least 185×185"):
        make(**PAPER)(torch.zeros(1, 1, 184, 300))


def test_the_papers_weights_have_the_papers_spread():
    net = make(num_classes=2, in_channels=1, base_channels=64, norm="none", padding="valid")
    deep = net.encoder.levels[3][3].weight
    assert deep.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)


@pytest.mark.parametrize("backbone", ["vgg", "vgg_bn", "resnet50"])
def test_encoder_maps_equal_torchvisions_features(backbone):
    models = pytest.importorskip("torchvision").models
    reference = {"vgg": models.vgg16, "vgg_bn": models.vgg16_bn, "resnet50": models.resnet50}[
        backbone
    ]().eval()
    encoder = make(num_classes=2, backbone=backbone).encoder.eval()
    encoder.load_state_dict(encoder.rename(reference.state_dict()))
    image = picture({})
    with torch.inference_mode():
        maps = encoder(image)
        if backbone == "resnet50":
            stem = reference.relu(reference.bn1(reference.conv1(image)))
            expected = [stem]
            x = reference.maxpool(stem)
            for layer in (reference.layer1, reference.layer2, reference.layer3, reference.layer4):
                x = layer(x)
                expected.append(x)
        else:
            expected, x = [], image
            for module in reference.features:
                if isinstance(module, nn.MaxPool2d):
                    expected.append(x)
                x = module(x)
    assert tuple(m.shape[1] for m in maps) == encoder.out_channels
    assert [64 // m.shape[-1] for m in maps] == list(encoder.reductions)
    assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))


def test_gray_input_takes_the_sum_of_imagenets_first_convolution():
    models = pytest.importorskip("torchvision").models
    weights = models.vgg16().state_dict()
    encoder = make(num_classes=2, backbone="vgg", in_channels=1).encoder
    encoder.load_state_dict(encoder.rename(weights))
    assert torch.equal(encoder.levels[0][0].weight, weights["features.0.weight"].sum(1, keepdim=True))


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"backbone": "vgg19"}, "'vgg19'; there are: plain, vgg, vgg_bn, resnet50"),
        ({"norm": "layer"}, "there are: batch, group, none"),
        ({"upsampling": "nearest"}, "there are: transposed, bilinear, aligned"),
        ({"skip": "mul"}, "there are: concat, add"),
        ({"padding": "full"}, "there are: same, valid"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"num_classes": -1}, "num_classes is -1"),
        ({"in_channels": 0}, "in_channels is 0"),
        ({"depth": 0}, "depth is 0"),
        ({"depth": 8}, "between 1 and 7"),
        ({"backbone": "vgg", "padding": "valid"}, "plain backbone"),
    ],
)
def test_what_makes_no_network_is_told_with_what_exists(arguments, words):
    with pytest.raises(ValueError, match=words):
        make(**{"num_classes": 2, **arguments})


def test_folded_batch_norms_change_nothing(member):
    net = make(**member)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low in (
                (module.weight, -2),
                (module.bias, -1),
                (module.running_mean, -1),
                (module.running_var, 0.1),
            ):
                nn.init.uniform_(values, low, 2)
    image = picture(member)
    with torch.inference_mode():
        expected = net.eval()(image)
        assert_close(fold_batch_norm(net)(image), expected)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())


DYNAMIC = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}


@pytest.fixture(scope="module", params=FAMILY)
def exported(request) -> tuple[str, UNet, torch.export.ExportedProgram]:
    name, arguments = request.param, FAMILY[request.param]
    net = make(**arguments).eval()
    # The exporter makes "there is something to pad" a condition, so the example must have something to pad.
    image = picture(arguments, 61, 93)
    return name, net, torch.export.export(net, (image,), dynamic_shapes=(DYNAMIC,))


def test_exported_program_equals_eager_at_another_size(exported):
    name, net, program = exported
    image = picture(FAMILY[name], 97, 163)
    with torch.inference_mode():
        assert_close(program.module()(image), net(image))


def test_onnx_runtime_equals_eager_at_other_sizes(exported, tmp_path):
    pytest.importorskip("onnxscript")
    if torch.__version__.startswith("2.6."):
        pytest.skip("the exporter of PyTorch 2.6 fails at batch norms that are not folded")
    runtime = pytest.importorskip("onnxruntime")
    name, net, program = exported
    torch.onnx.export(program, dynamo=True, verbose=False).save(tmp_path / "net.onnx")
    session = runtime.InferenceSession(tmp_path / "net.onnx")
    # ONNX has no such condition: the first of these sizes is a multiple of every stride.
    for size in ((64, 96), (97, 163)):
        image = picture(FAMILY[name], *size)
        (found,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
        with torch.inference_mode():
            assert_close(torch.from_numpy(found), net(image))


def test_compiled_network_equals_eager(member):
    net, image = make(**member).eval(), picture(member)
    torch.compiler.reset()
    with torch.inference_mode():
        assert_close(torch.compile(net, backend="aot_eager")(image), net(image))


@pytest.mark.parametrize("name", ["plain", "dropout", "vgg", "resnet50", "deep supervision", "paper"])
def test_compiled_training_equals_eager(name):
    image, results = picture(FAMILY[name]), []
    for compiled in (False, True):
        torch.compiler.reset()
        net = make(**FAMILY[name]).train()
        torch.manual_seed(1)
        outputs = (torch.compile(net, backend="aot_eager", dynamic=False) if compiled else net)(image)
        squares(outputs).backward()
        results.append(
            ([outputs] if isinstance(outputs, torch.Tensor) else outputs, [p.grad for p in net.parameters()])
        )
    (expected, expected_grads), (found, found_grads) = results
    assert len(found) == len(expected) == (4 if name == "deep supervision" else 1)
    for one, other in zip([*found, *found_grads], [*expected, *expected_grads], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)


@pytest.mark.skipif(not shutil.which("g++"), reason="the default backend calls a C++ compiler")
def test_network_of_the_default_compiler_equals_eager():
    net, image = make(**SMALL, upsampling="bilinear").eval(), picture(SMALL, 45, 67)
    with torch.inference_mode():
        assert_close(torch.compile(net)(image), net(image))


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


def test_summary_counts_by_hand():
    from nets.summary import measure

    with torch.device("meta"):
        net = build(NetworkConfig(3, 1, base_channels=4, depth=1))
    first, deep, up, head = measure(net, (2, 1, 16, 16))
    assert (
        first.shape == (4, 16, 16)
        and deep.shape == (8, 8, 8)
        and up.shape == (4, 16, 16)
        and head.shape == (3, 16, 16)
    )
    assert first.multiply_adds == 9 * 16 * 16 * (1 * 4 + 4 * 4)
    assert deep.multiply_adds == 9 * 8 * 8 * (4 * 8 + 8 * 8)
    assert up.multiply_adds == 4 * 8 * 8 * 8 * 4 + 9 * 16 * 16 * (8 * 4 + 4 * 4)
    assert head.multiply_adds == 16 * 16 * 4 * 3
    assert sum(level.parameters for level in (first, deep, up, head)) == sum(
        p.numel() for p in net.parameters()
    )


def test_group_norm_takes_any_width():
    net = make(num_classes=2, norm="group", base_channels=6, depth=1)
    groups = [module.num_groups for module in net.modules() if isinstance(module, nn.GroupNorm)]
    assert groups == [2, 2, 4, 4, 2, 2]


@pytest.mark.parametrize("backbone", ["vgg", "vgg_bn", "resnet50"])
def test_summary_of_torchvisions_encoders_computes_nothing(backbone):
    from nets.summary import measure

    with torch.device("meta"):
        net = build(NetworkConfig(3, 1, backbone=backbone))
    assert all(value.is_meta for value in net.state_dict().values())
    levels = measure(net, (2, 1, 64, 64))
    assert sum(level.parameters for level in levels) == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--base-channels", "0"], "base_channels is 0; it must be 1 or more: choose other values"),
        (
            ["--padding", "valid", "--input-shape", "100", "100"],
            "100×100 is too small for unpadded convolutions",
        ),
        (
            ["--input-shape", "16", "16"],
            "one value a channel at the deepest level; at least 32×32, or 2 pictures",
        ),
        (["--input-shape", "0", "16"], "input_shape is 0×16 and batch_size 1; they must be 1 or more"),
        (["--batch-size", "0"], "input_shape is 512×512 and batch_size 0; they must be 1 or more"),
        (["--num-classes", "0"], "num_classes is 0"),
    ],
)
def test_the_summary_of_what_makes_no_network_is_one_message(flags, words):
    result = start(["-m", "nets.unet", *flags], ROOT)
    assert result.returncode == 1
    assert words in result.stderr and "Traceback" not in result.stderr


def test_every_part_of_the_family_is_covered():
    for field in fields(NetworkConfig):
        if get_origin(field.type) is Literal:
            used = {getattr(NetworkConfig(**member), field.name) for member in FAMILY.values()}
            assert used == set(get_args(field.type))


def test_pooling_in_integers_equals_pooling():
    numbers = torch.arange(0, 0x7F81).to(torch.int16).view(torch.bfloat16)
    assert numbers[-1] == torch.inf and not numbers.isnan().any()
    shuffled = numbers[torch.randperm(len(numbers), generator=torch.Generator().manual_seed(0))]
    for shape in ((2, 3, 8, 6), (1, 4, 9, 7), (1, 1, 180, 181)):
        maps = shuffled[: math.prod(shape)].view(shape)
        maps[..., 0, 0] = -0.0
        for x in (maps, maps.contiguous(memory_format=torch.channels_last)):
            found = MaxPool().eval()(x)
            assert found.dtype == torch.bfloat16
            assert torch.equal(found, F.max_pool2d(x, 2))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_relu_within_convolutions_changes_nothing(member, memory_format):
    net = fold_batch_norm(make(**member)).to(memory_format=memory_format)
    fused = fuse_relu(copy.deepcopy(net))
    # Group norms stay between the two.
    grouped = member.get("norm") == "group"
    assert any(isinstance(layer, ConvReLU) for layer in fused.modules()) != grouped
    # The second size comes after the weights were arranged for the first, which is done when it comes again.
    for height, width in ((64, 64), (64, 64), (96, 80), (96, 80), (64, 64)):
        image = picture(member, height, width).contiguous(memory_format=memory_format)
        with torch.inference_mode():
            assert_close(fused(image), net(image), 1e-5)
    # With gradients PyTorch's own operations run.
    assert_close(fused(image), net(image), 1e-5)


def test_relu_within_convolutions_rounds_no_more(member):
    exact = fold_batch_norm(make(**member))
    rounded = copy.deepcopy(exact).bfloat16()
    fused, image = fuse_relu(copy.deepcopy(rounded)), picture(member)
    with torch.inference_mode():
        wanted = exact(image)
        errors = [(net(image.bfloat16()) - wanted).abs().mean() for net in (fused, rounded)]
    assert errors[0] <= 1.1 * errors[1]
    assert errors[1] < 0.05 * wanted.abs().mean()


def test_convolution_with_relu_by_hand():
    conv = nn.Conv2d(1, 1, 1)
    nn.init.constant_(conv.weight, 2.0)
    nn.init.constant_(conv.bias, -3.0)
    layer = ConvReLU.of(conv)
    x, plus = torch.tensor([[[[1.0, 2.0, 3.0]]]]), torch.tensor([[[[5.0, 0.0, -9.0]]]])
    for mode in (torch.inference_mode, torch.no_grad, torch.enable_grad):
        with mode():
            assert layer(x).tolist() == [[[[0.0, 1.0, 3.0]]]]
            assert layer(x, plus=plus.clone()).tolist() == [[[[4.0, 1.0, 0.0]]]]
