"""Which results a command takes of the folder that it is given."""

import pytest

from plm_scaling.cli.options import results_of
from plm_scaling.common.errors import RunsError


def test_folder_of_a_study_stands_for_its_results_unless_there_are_several(tmp_path):
    one, other = tmp_path / "results/one", tmp_path / "results/other"
    for results in (one, other):
        results.mkdir(parents=True)
    assert results_of(tmp_path) == tmp_path  # nothing is planned there
    (one / "sweep.tsv").touch()
    assert results_of(tmp_path) == results_of(one) == one
    (other / "sweep.tsv").touch()
    with pytest.raises(RunsError, match=f"of 2 studies; give one of {one}, {other}$"):
        results_of(tmp_path)
    assert results_of(other) == other
