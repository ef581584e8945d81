"""What an epoch follows from: classes that no validation has found."""

import numpy as np

from utils.scoring.confusion import Scores
from utils.training.batches import EpochBatches
from utils.training.epochs import seek_classes

NAMES = ["ground", "bird", "boat", "tower"]


def test_classes_that_were_never_found_are_sought_if_training_pictures_show_them(capsys):
    matrix = np.diag([9, 0, 0, 3])
    matrix[1, 0] = matrix[2, 0] = 4
    shows = {0: [0, 1], 1: [1], 2: [], 3: [0]}
    assert seek_classes(Scores(matrix), shows, (), NAMES) == (1,)
    assert "bird" in (told := capsys.readouterr().err)
    assert "boat" not in told
    # Said once, and over when a pixel is found.
    assert seek_classes(Scores(matrix), shows, (1,), NAMES) == (1,)
    assert not capsys.readouterr().err
    matrix[1] = [3, 1, 0, 0]
    assert seek_classes(Scores(matrix), shows, (1,), NAMES) == ()


def test_a_class_that_validation_lacks_is_not_sought():
    assert seek_classes(Scores(np.diag([9, 0, 0, 0])), {1: [0]}, (), NAMES) == ()


def test_a_third_of_the_crops_show_classes_that_are_sought():
    batches = EpochBatches(30, 7, seed=0, shows={1: [2, 4], 2: [], 3: [5]})
    batches.epoch = 2
    plain = [key for part in batches for key in part]
    batches.sought = (1, 2, 3)
    keys = [key for part in batches for key in part]
    seeking = [key for key in keys if key.sought is not None]
    assert len(seeking) == 10
    assert {key.sought for key in seeking} == {1, 3}
    assert all(key.number - 60 in {1: (2, 4), 3: (5,)}[key.sought] for key in seeking)
    assert len(set(seeking)) == 10
    assert [key for key in keys if key.sought is None] == [
        key for key, other in zip(plain, keys, strict=True) if other.sought is None
    ]
    batches.sought = (2,)
    assert [key for part in batches for key in part] == plain
