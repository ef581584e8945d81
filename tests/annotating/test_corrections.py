"""The folder between a person and the network: what is saved, what it cost, what is never touched."""

import os

import numpy as np
import pytest
from scripts import refused

from utils.annotating.corrections import count_corrections, read_proposal, take_saved, withdraw
from utils.annotating.pool import Watcher
from utils.annotating.proposals import describe_saved, look_through, measure, propose
from utils.annotating.state import Proposal, State, Workplace, read_state
from utils.images.reading import read_mask
from utils.images.writing import write_image, write_mask
from utils.labelme.reading import read_annotation
from utils.labelme.writing import write_labelme
from utils.voc.demo import draw_sample

CLASSES = ["_background_", "cell", "nucleus"]


@pytest.fixture
def place(tmp_path):
    """Seven pictures."""
    for number in range(7):
        write_image(tmp_path / "我的" / f"cells_{number}.png", draw_sample(number, 48)[0])
    return Workplace(tmp_path / "我的")


def save(place, number, mask=None, time=None):
    """As a person does it in labelme."""
    truth = draw_sample(number, 48)[1] if mask is None else mask
    path = place.labelme(f"cells_{number}")
    write_labelme(path, f"cells_{number}.png", truth, CLASSES)
    if time:
        os.utime(path, (time, time))


def take(place, state):
    return take_saved(place, state, Watcher(place).look(state), "python annotate.py")


def propose_empty(place, state, number):
    mask = np.zeros((48, 48), np.uint8)
    return propose(place, state, place.root / f"cells_{number}.png", mask, CLASSES, 1)


def test_corrected_pixels_are_those_whose_class_changes():
    truth = np.array([[0, 1, 2, 255]], np.uint8)
    proposed = np.array([[0, 2, 2, 1]], np.uint8)
    saved = count_corrections(truth, proposed, "", "train")
    assert (saved.pixels, saved.corrected, saved.drawn) == (3, 1, 2)
    # From nothing all of the two objects had to be drawn.
    assert count_corrections(truth, None, "", "train").corrected == 2


def test_a_proposal_counts_as_saved_only_after_a_change(place):
    state = State()
    assert propose_empty(place, state, 0) and propose_empty(place, state, 1)
    save(place, 1)
    look = Watcher(place).look(state)
    assert look.untouched == ["cells_0"] and [*look.saved] == ["cells_1"]
    assert look.free == [f"cells_{number}" for number in range(2, 7)]
    # A file that labelme may still be writing waits.
    assert not Watcher(place).look(state, quiet=3600).saved


def test_what_a_person_saved_is_never_written_over(place):
    state = State()
    save(place, 3)
    before = place.labelme("cells_3").read_bytes()
    assert not propose_empty(place, state, 3)
    assert place.labelme("cells_3").read_bytes() == before
    assert not state.proposals and not list(place.home.glob("draft*"))


def test_every_fifth_picture_validates_and_stays_there(place):
    state = State()
    for number in range(6):
        save(place, number, time=1000 - number)
    # In the order in which they were saved, and not of their names.
    assert take(place, state)[:2] == ["cells_5", "cells_4"]
    assert state.names("val") == ["cells_1"]
    assert place.voc.read_split("val") == ["cells_1"]
    assert not take(place, state)
    save(place, 1, draw_sample(0, 48)[1])
    place.labelme("cells_4").unlink()
    assert take(place, state) == ["cells_1"]
    assert state.names("val") == ["cells_1"] and "cells_4" not in place.voc.read_split("train")
    assert read_state(place) == state


def test_few_pictures_are_trained_on_and_looked_at(place):
    state = State()
    save(place, 0)
    take(place, state)
    assert place.voc.read_split("train") == place.voc.read_split("val") == ["cells_0"]
    assert np.count_nonzero(read_mask(place.voc.mask_path("cells_0"))) == state.saved["cells_0"].drawn


def test_only_saved_pictures_become_masks_and_proposals_are_scored(place):
    state = State(next=["cells_0", "cells_1"])
    truth = draw_sample(0, 48)[1]
    propose(
        place, state, place.root / "cells_0.png", np.where(truth == 2, 1, truth).astype(np.uint8), CLASSES, 1
    )
    propose_empty(place, state, 1)
    save(place, 0)
    assert take(place, state) == ["cells_0"]
    assert [*place.voc.images] == ["cells_0"] and state.next == ["cells_1"]
    saved = state.saved["cells_0"]
    # Polygons differ from the mask by a pixel here and there.
    assert saved.corrected == pytest.approx(np.count_nonzero(truth == 2), rel=0.1)
    assert 0.3 < state.scored < 0.7


def test_specks_are_not_proposed(place):
    state, mask = State(), np.zeros((48, 48), np.uint8)
    mask[10:20, 10:20], mask[30:33, 30:33] = 1, 2
    propose(place, state, place.root / "cells_0.png", mask, CLASSES, 1)
    assert np.unique(read_proposal(place, state, "cells_0", CLASSES)).tolist() == [0, 1]
    assert [shape.label for shape in read_annotation(place.labelme("cells_0")).shapes] == ["cell"]


def test_a_proposal_follows_the_names_of_the_classes(place):
    state = State(proposals={"a": Proposal("", ["bg", "old", "cell"], 1)})
    write_mask(place.proposal("a"), np.array([[0, 1, 2]], np.uint8))
    assert read_proposal(place, state, "a", CLASSES).tolist() == [[0, 254, 1]]
    assert read_proposal(place, state, "b", CLASSES) is None


def test_untouched_proposals_are_withdrawn_whole(place):
    state = State()
    propose_empty(place, state, 0)
    withdraw(place, state, ["cells_0"])
    assert not place.labelme("cells_0").exists() and not place.proposal("cells_0").exists()
    assert len(Watcher(place).look(state).free) == 7


def test_a_damaged_state_and_a_folder_without_pictures_are_told(place, tmp_path):
    place.state.parent.mkdir()
    place.state.write_text('{"rounds": 3}', "utf-8")
    with refused("record-damaged", place.state):
        read_state(place)
    with refused("folder-without-pictures"):
        Watcher(Workplace(place.home)).look(State())


def test_uncertainty_is_the_mean_entropy_where_a_class_is_predicted():
    classes, entropy = np.array([[0, 0, 1, 1]], np.uint8), np.array([[255, 0, 51, 51]], np.uint8)
    unsure, shares = measure(np.zeros((1, 4)), lambda *_: [(classes, entropy)], 3)
    assert unsure == pytest.approx([0.25, 0.1, 0]) and shares.tolist() == [0.5, 0.5, 0]


def test_candidates_are_as_many_as_the_time_allows(place, capsys):
    pictures = Watcher(place).look(State()).pictures
    rng = np.random.default_rng(0)
    assert len(look_through(pictures, 2, 0.0, rng)) == 4
    pictures["cells_0"].write_bytes(b"no picture")
    found = look_through(pictures, 2, 60.0, rng)
    assert {one.name for one in found} == {f"cells_{number}" for number in range(1, 7)}
    assert "cells_0.png" in capsys.readouterr().err


def test_saved_pictures_are_described_as_candidates_are(place):
    state = State()
    save(place, 0)
    take(place, state)
    (known,), pixels = describe_saved(place, state, 3)
    assert known.name == "cells_0" and known.shares == pytest.approx(pixels / 48**2)
