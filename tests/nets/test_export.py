"""Exported and compiled networks compute the same."""

import shutil

import pytest
import torch
from family import FAMILY, SMALL, assert_close, each_member, make, picture, squares

from nets.unet import UNet

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


@each_member
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
