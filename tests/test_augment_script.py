"""augment.py: copies on disk."""

import numpy as np
import pytest
from scripts import make_voc

from augment import Config, main
from utils.core.console import UserError
from utils.images.reading import read_image, read_mask
from utils.images.writing import write_image, write_mask
from utils.training.augmentation import STRENGTHS, Augmentation, parse_augmentation
from utils.voc.folder import VocFolder


def run(tmp_path, output="out", **changes):
    folder = make_voc(tmp_path / "voc", 4) if not (tmp_path / "voc").exists() else VocFolder(tmp_path / "voc")
    main(Config(voc_root=folder.root, output=tmp_path / output, **changes))
    return folder, VocFolder(tmp_path / output)


def test_pictures_copies_and_splits(tmp_path, capsys):
    source, target = run(tmp_path, copies=3)
    assert len(target.read_split("train")) == 3 * 4 and target.read_split("val") == source.read_split("val")
    assert target.read_class_names() == source.read_class_names()
    assert "python train.py --voc-root" in capsys.readouterr().out
    for name in (
        source.read_split("trainval") if (source.splits_dir / "trainval.txt").exists() else source.images
    ):
        assert target.image_path(name).read_bytes() == source.image_path(name).read_bytes()
        assert target.mask_path(name).read_bytes() == source.mask_path(name).read_bytes()
    for name in target.read_split("train"):
        image, mask = read_image(target.image_path(name)), read_mask(target.mask_path(name))
        assert image.shape == mask.shape and mask.max() <= 2
    first, second = (read_image(target.image_path(f"cells_0_aug{k}")) for k in (1, 2))
    assert not np.array_equal(first, second)


def test_the_same_seed_writes_the_same_copies(tmp_path):
    _, one = run(tmp_path, "one", copies=1)
    _, two = run(tmp_path, "two", copies=1)
    _, other = run(tmp_path, "other", copies=1, seed=1)
    name = "cells_1_aug1"
    assert np.array_equal(read_image(one.image_path(name)), read_image(two.image_path(name)))
    assert not np.array_equal(read_image(one.image_path(name)), read_image(other.image_path(name)))


def test_colours_of_16_bits_stay_such(tmp_path):
    folder = make_voc(tmp_path / "voc", 2)
    for path in folder.images.values():
        write_image(
            path, np.dstack([read_image(path).astype(np.uint16) * 200, np.zeros((48, 48, 2), np.uint16)])
        )
    _, target = run(tmp_path, copies=1)
    image = read_image(target.image_path("cells_0_aug1"))
    assert image.dtype == np.uint16
    assert image[..., 0].mean() > 5 * image[..., 2].mean() > 0


@pytest.mark.parametrize("strength", ["default", "strong", "strong,mirror=0"])
def test_objects_follow_the_same_warp(tmp_path, strength):
    """Objects that are a function of the mask stay the same function of it."""
    folder = make_voc(tmp_path / "voc", 3)
    table = np.arange(256, dtype=np.uint8)
    table[:3] = 0, 7, 200
    (folder.root / "scaling.json").write_text("{}", encoding="utf-8")
    for name in ("cells_0", "cells_2"):
        write_mask(folder.objects_path(name), table[read_mask(folder.mask_path(name))])
    _, target = run(tmp_path, copies=2, augmentation=strength)
    written = {path.stem for path in target.objects_dir.iterdir()}
    assert written == {"cells_0", "cells_0_aug1", "cells_0_aug2", "cells_2"}
    for name in written:
        mask = read_mask(target.mask_path(name))
        assert np.array_equal(target.read_objects(name, mask.shape), table[mask])
    assert (target.root / "scaling.json").is_file()
    assert (255 in read_mask(target.mask_path("cells_0_aug1"))) == ("mirror=0" in strength)


def test_objects_of_another_size(tmp_path):
    folder = make_voc(tmp_path / "voc", 3)
    write_mask(folder.objects_path("cells_1"), np.zeros((48, 47), np.uint8))
    with pytest.raises(UserError, match="a mask of 48×47"):
        run(tmp_path)


def test_existing_pictures_are_not_overwritten(tmp_path):
    run(tmp_path, copies=1)
    with pytest.raises(UserError) as caught:
        run(tmp_path, copies=1)
    assert (caught.value.code, caught.value.subject) == (
        "output-not-empty",
        str(tmp_path / "out" / "JPEGImages"),
    )


def test_no_copies_are_refused(tmp_path):
    with pytest.raises(UserError) as caught:
        run(tmp_path, copies=0)
    assert (caught.value.code, caught.value.subject) == ("setting-range", "--copies")
    assert not (tmp_path / "out").exists()


def test_parts_are_changed_by_name():
    assert parse_augmentation("strong") == STRENGTHS["strong"]
    changed = parse_augmentation("light, rotate=180, flip=0, jpeg=40")
    assert (changed.rotate, changed.left_right, changed.top_bottom, changed.jpeg) == (180.0, False, False, 40)
    assert changed.contrast == STRENGTHS["light"].contrast and isinstance(changed, Augmentation)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("huge", "augmentation-strength"),
        ("light,spin=3", "augmentation-part"),
        ("light,rotate=x", "augmentation-part"),
        ("default,jpeg=inf", "augmentation-part"),
        ("default,jpeg=200", "augmentation-range"),
        ("default,shift=-1", "augmentation-range"),
        ("default,elastic=3,elastic_spacing=0", "augmentation-range"),
        ("default,rotate=inf", "augmentation-range"),
        ("default,rotate=nan", "augmentation-range"),
        ("default,brightness=20", "augmentation-range"),
    ],
)
def test_impossible_augmentations_are_refused(text, code):
    with pytest.raises(UserError) as caught:
        parse_augmentation(text)
    assert (caught.value.code, caught.value.subject) == (code, f"--augmentation {text}")


def test_pictures_of_12_bits_are_changed_within_their_range(tmp_path):
    folder = make_voc(tmp_path / "voc", 3)
    for path in folder.images.values():
        write_image(path, (200 + read_image(path).astype(np.uint16) * 14).astype(np.uint16))
    _, target = run(tmp_path, copies=2, augmentation="strong,erase=0")
    before = np.concatenate([read_image(path).ravel() for path in folder.images.values()])
    for copy in (1, 2):
        image = read_image(target.image_path(f"cells_0_aug{copy}"))
        assert before.min() <= image.min() and image.max() <= before.max()
        assert (image == image.min()).mean() < 0.3


def test_a_mask_of_another_size_is_refused(tmp_path):
    folder = make_voc(tmp_path / "voc", 2)
    write_mask(folder.mask_path("cells_0"), np.zeros((20, 30), np.uint8))
    with pytest.raises(UserError, match="a mask of 20×30"):
        run(tmp_path)
