"""Checkpoints: what is written is read back; everything else is refused with a reason and never executed."""

import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nets.config import NetworkConfig
from utils.core.console import UserError
from utils.core.device import Precision
from utils.core.files import replacing
from utils.models.checkpoint import Checkpoint, load_checkpoint, load_weights_only, save_checkpoint
from utils.models.weights import open_model

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")


def make(value: float = 1.0, **fields: object) -> Checkpoint:
    content = {
        "model": {"head.weight": torch.full((2, 3), value), "half": torch.ones(2, dtype=torch.bfloat16)},
        "network": NetworkConfig(2, 3),
        "class_names": ["background", "细胞"],
        "palette": [[0, 0, 0], [128, 0, 0]],
        "normalisation": {"mean": [0.5] * 3, "std": [0.25] * 3},
        "input_shape": (64, 96),
        "scores": {"miou": 0.75},
        "settings": {"voc_root": "数据 集", "num_workers": None},
        "training": {
            "epoch": 3,
            "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]},
        },
    }
    return Checkpoint(**{**content, **fields})


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "权重 1.pth"
    save_checkpoint(path, make())
    return path


def test_file_of_an_earlier_release_has_no_threshold(path, tmp_path):
    assert load_checkpoint(path).threshold is None
    save_checkpoint(tmp_path / "new.pth", make(threshold=0.25))
    assert load_checkpoint(tmp_path / "new.pth").threshold == 0.25
    content = torch.load(path, weights_only=True)
    del content["threshold"], content["digest"]
    torch.save(content, path)
    assert load_checkpoint(path).threshold is None


class Program:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.target),)


def refused(path: Path) -> UserError:
    """The one kind of exception that loading raises, naming the file."""
    with pytest.raises(UserError) as error:
        load_checkpoint(path)
    assert str(path) in str(error.value)
    assert error.value.found
    assert error.value.remedy
    return error.value


def edit(path: Path, **changes: object) -> None:
    """Replace fields of a checkpoint without its digest, as somebody who forges one would."""
    content = torch.load(path, weights_only=True)
    del content["digest"]
    torch.save({**content, **changes}, path)


def test_everything_is_read_back(path):
    loaded, original = load_checkpoint(path), make()
    assert loaded.model.keys() == original.model.keys()
    for name, value in original.model.items():
        assert torch.equal(loaded.model[name], value)
        assert loaded.model[name].dtype == value.dtype
    assert loaded.training.pop("optimizer")["state"][0]["step"] == 3
    original.training.pop("optimizer")
    for name in (
        "network",
        "class_names",
        "palette",
        "normalisation",
        "fit",
        "scores",
        "settings",
        "training",
    ):
        assert getattr(loaded, name) == getattr(original, name)
    assert tuple(loaded.input_shape) == (64, 96)


def test_pytorch_alone_reads_it_without_executing_anything(path):
    content = torch.load(path, weights_only=True)
    assert content["class_names"] == ["background", "细胞"]
    assert {"format", "version", "model"} <= content.keys()


def test_writing_makes_the_folder_and_leaves_no_other_file(tmp_path):
    path = tmp_path / "logs" / "run" / "best.pth"
    for value in (1.0, 2.0):
        save_checkpoint(path, make(value))
        assert load_checkpoint(path).model["head.weight"][0, 0] == value
    assert list(path.parent.iterdir()) == [path]


def test_a_crash_while_writing_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()

    def half(content, file, *args, **kwargs):
        if hasattr(file, "write"):
            file.write(before[: len(before) // 2])
        else:
            Path(file).write_bytes(before[: len(before) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(UserError, match="No space left"):
        save_checkpoint(path, make(2.0))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("numbers", [10, 1_000_000])
def test_a_full_disk_leaves_the_old_file(path, numbers, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr("secrets.token_hex", lambda _: "same")
    with suppress(UserError), replacing(path) as temporary:
        pass
    temporary.symlink_to("/dev/full")
    with pytest.raises(UserError, match="No space left"):
        save_checkpoint(path, make(model={"large": torch.zeros(numbers)}))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["file/best.pth", "file/run/best.pth"])
def test_a_folder_that_cannot_be_written_is_a_user_error(tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"best\.pth"):
        save_checkpoint(tmp_path / name, make())
    assert (tmp_path / "file").read_text() == "in the way"


def test_missing_files_and_folders_are_refused(tmp_path):
    assert refused(tmp_path / "missing.pth").code == "checkpoint-missing"
    assert refused(tmp_path).code == "checkpoint-missing"


def test_a_file_without_permission_is_not_called_damaged(path, monkeypatch):
    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    error = refused(path)
    assert (error.code, error.found) == ("file-unreadable", "it cannot be read (Permission denied)")


def test_an_empty_file_is_refused(path):
    path.write_bytes(b"")
    assert refused(path).code == "checkpoint-empty"


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_truncated_files_are_refused(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: max(int(len(data) * share), 3)])
    assert refused(path).code == "checkpoint-damaged"


@pytest.mark.parametrize("legacy", [False, True])
@given(damage=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_files_are_read_or_refused(tmp_path, legacy, damage):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(3)}, path, _use_new_zipfile_serialization=not legacy)
    data = bytearray(path.read_bytes())
    for position, value in damage:
        data[position % len(data)] = value
    path.write_bytes(bytes(data))
    try:
        load_weights_only(path)
    except UserError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize(
    "text", ["my notes", "class_names:\n- cell", '{"model": 1}', "细胞", "\n", ".", "PNG"]
)
def test_text_is_refused_as_no_checkpoint(path, text):
    path.write_text(text, encoding="utf-8")
    assert refused(path).code == "not-a-checkpoint"


@given(data=st.binary(min_size=1, max_size=60))
def test_random_bytes_are_refused(tmp_path, data):
    path = tmp_path / "random.pth"
    for start in (b"", b"PK\3\4", b"\x80\2"):
        path.write_bytes(start + data)
        refused(path)


def test_another_zip_file_is_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thesis/text.txt", "hello")
    refused(path)


@pytest.mark.parametrize(
    "content",
    [torch.nn.Linear(2, 2).state_dict(), {}, [1, 2], torch.ones(2), {"format": "another", "version": 1}],
)
def test_files_of_another_format_are_refused(path, content):
    torch.save(content, path)
    assert refused(path).code == "checkpoint-format"


def test_another_version_is_refused(path):
    content = torch.load(path, weights_only=True)
    torch.save({**content, "version": 99}, path)
    assert refused(path).code == "checkpoint-version"


def test_a_missing_field_is_refused_by_name(path):
    content = torch.load(path, weights_only=True)
    del content["normalisation"]
    torch.save(content, path)
    error = refused(path)
    assert error.code == "checkpoint-incomplete" and "normalisation" in error.found


def test_settings_of_the_network_that_are_not_known_are_refused_by_name(path):
    edit(path, network={**vars(NetworkConfig(2, 3)), "attention": True})
    error = refused(path)
    assert error.code == "network-settings" and "attention" in error.found


def test_settings_that_make_no_network_are_refused(path):
    edit(path, network={**vars(NetworkConfig(2, 3)), "norm": "layer"})
    with pytest.raises(UserError) as error:
        open_model(path, Precision(torch.device("cpu"), None))
    assert error.value.code == "network-settings" and error.value.subject == str(path)


def test_a_network_is_plain_values_in_the_file(path):
    assert torch.load(path, weights_only=True)["network"] == vars(NetworkConfig(2, 3))


def torch_file(zipped: bool) -> tuple[Callable, Callable]:
    """How to write it, and how a careless program would read it."""
    return (
        lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=zipped),
        lambda path: torch.load(path, weights_only=False),
    )


def plain_pickle(protocol: int) -> tuple[Callable, Callable]:
    return (
        lambda content, path: path.write_bytes(pickle.dumps(content, protocol)),
        lambda path: pickle.loads(path.read_bytes()),
    )


@pytest.mark.parametrize(
    ("write", "execute", "code"),
    [
        (*torch_file(zipped=True), "checkpoint-unsafe"),
        (*torch_file(zipped=False), "checkpoint-unsafe"),
        (*plain_pickle(4), "checkpoint-unsafe"),
        (*plain_pickle(2), "checkpoint-unsafe"),
        (*plain_pickle(0), "not-a-checkpoint"),
    ],
    ids=["zip", "legacy", "pickle 4", "pickle 2", "pickle 0"],
)
def test_a_malicious_pickle_is_refused_and_not_executed(path, write, execute, code):
    trace = path.with_name("trace")
    write({"format": "unet-segmentation", "version": 1, "model": Program(trace)}, path)
    assert refused(path).code == code
    assert not trace.exists()
    execute(path)
    assert trace.exists()  # so the pickle was dangerous indeed


def test_a_pickled_network_is_refused(path):
    torch.save(torch.nn.Linear(2, 2), path)
    error = refused(path)
    assert error.code == "checkpoint-unsafe"
    assert "state_dict" in error.remedy
