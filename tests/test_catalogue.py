"""The catalogue of faulty folders runs through all scripts: codes, messages, and nothing written."""

import pytest
from catalogue import MESSAGES, ROWS, SCRIPTS, format_messages, run_all


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return run_all(tmp_path_factory.mktemp("catalogue"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_script_knows_the_fault(outcomes, row):
    codes = {script: outcome.code for script, outcome in outcomes[row.name].items()}
    assert codes == {script: getattr(row, script) for script in SCRIPTS}


def test_messages_are_those_that_were_reviewed(outcomes):
    """After a change of wording: python tests/catalogue.py --write, then read the difference."""
    assert format_messages(outcomes) == MESSAGES.read_text("utf-8")
