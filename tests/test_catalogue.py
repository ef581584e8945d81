"""The catalogue of faulty data runs through the scripts: codes, messages, what their commands yield."""

import pytest
from catalogue import ROWS
from catalogue_runs import MESSAGES, format_messages, run_row
from scripts import save_untrained


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("model") / "model.pth").read_bytes()


@pytest.fixture(scope="module")
def outcomes():
    """Row → script → outcome, filled by the tests of the rows."""
    return {}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row(row, tmp_path, model, outcomes):
    outcomes[row.name] = run_row(row, tmp_path, model)
    assert {script: outcome.code for script, outcome in outcomes[row.name].items()} == row.said


def test_names_are_unique():
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_messages_are_those_that_were_reviewed(outcomes):
    """After a change of wording: python tests/catalogue.py --write, then read the difference."""
    if outcomes.keys() != {row.name for row in ROWS}:
        pytest.skip("needs all rows")
    assert format_messages(outcomes) == MESSAGES.read_text("utf-8")
