"""Errors of torch.compile become messages; other errors stay bugs."""

import pytest
import torch

from utils.core.console import UserError
from utils.models.compiling import compiler_errors, is_compiler_error


def compiler_error() -> RuntimeError:
    """As PyTorch raises it where there is no C++ compiler."""
    return torch._dynamo.exc.TorchDynamoException("line one\nfatal error: Python.h: No such file\nmore")


def test_a_failing_compiler_is_a_user_error_with_its_cause():
    with pytest.raises(UserError) as error, compiler_errors():
        raise compiler_error()
    assert error.value.code == "compiler-fails" and "Python.h" in error.value.found


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2"), ValueError("a bug")])
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as caught, compiler_errors():
        raise error
    assert caught.value is error


@pytest.mark.parametrize("missing", ["_dynamo", "exc", "TorchDynamoException"])
def test_a_pytorch_without_the_private_class_shows_the_error_as_it_is(monkeypatch, missing):
    error = compiler_error()
    owner = {"_dynamo": torch, "exc": torch._dynamo, "TorchDynamoException": torch._dynamo.exc}[missing]
    monkeypatch.setattr(owner, missing, None if missing != "TorchDynamoException" else ())
    assert not is_compiler_error(error)
    with pytest.raises(RuntimeError) as caught, compiler_errors():
        raise error
    assert caught.value is error
