"""What an epoch follows from: classes that no validation has found."""

import numpy as np

from utils.scoring.confusion import Scores
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
