"""TM-scores by Foldseek: how it is called and what is read of its table (a stand-in for it)."""

import gemmi
import numpy as np
import pytest

from plm_scaling.common.errors import DownstreamError
from plm_scaling.downstream.generation.by_models.foldseek import (
    best_scores,
    foldseek_scores,
    pdb_text,
)
from plm_scaling.downstream.generation.proteins import Proteins

# As versions write names: of the file, with its ending, with the chain; scores also as exponents.
TABLE = """000000\td1asha_\t0.7993
000000\td1or4a_.pdb_A\t0.6408
000002.pdb\td1asha_\t4.350E-01
000002_A\td1b0ba_\t5.100E-01
"""
PROTEINS = Proteins([b"AGVLK", b"MKVX", b"ACDEF"])
PLACES = [np.arange(3.0 * len(one)).reshape(-1, 3) for one in PROTEINS.sequences]


@pytest.fixture
def stand_in(tmp_path):
    """A program called foldseek that keeps its command line and a query, and ends as told."""

    def make(ends=0):
        program = tmp_path / "bin/foldseek"
        program.parent.mkdir()
        (tmp_path / "table").write_text(TABLE)
        program.write_text(
            "#!/bin/sh\n"
            f'echo "$@" > {tmp_path}/words\n'
            f"cp $2/000001.pdb {tmp_path}/query.pdb\n"
            f"[ {ends} = 0 ] && cp {tmp_path}/table $4\n"
            "echo Input database is empty >&2\n"
            f"exit {ends}\n"
        )
        program.chmod(0o755)
        return str(program)

    return make


def test_best_score_of_each_protein_of_all_pairs(stand_in, tmp_path):
    found = foldseek_scores(stand_in(), PROTEINS, PLACES, tmp_path, 3)
    np.testing.assert_array_equal(found, [0.7993, np.nan, 0.51])  # none found is not 0
    words = (tmp_path / "words").read_text().split()
    assert words[0] == "easy-search"
    assert words[2] == str(tmp_path)
    for option, value in (
        ("--alignment-type", "1"), ("--exhaustive-search", "1"), ("--threads", "3"),
        ("--format-output", "query,target,qtmscore"),
    ):  # fmt: skip
        assert words[words.index(option) + 1] == value
    (chain,) = gemmi.read_structure(str(tmp_path / "query.pdb"))[0]
    assert [one.name for one in chain] == ["MET", "LYS", "VAL", "UNK"]
    places = [one.get_ca().pos.tolist() for one in chain]
    np.testing.assert_allclose(places, PLACES[1], atol=1e-3)


def test_failure_says_what_foldseek_said(stand_in, tmp_path):
    with pytest.raises(DownstreamError, match=r"failed \(Input database is empty\); correct"):
        foldseek_scores(stand_in(ends=1), PROTEINS, PLACES, tmp_path, 1)


@pytest.mark.parametrize("line", ["query\ttarget\tqtmscore", "000001\td1asha_\t0.5"])
def test_another_table_is_refused_with_its_line(line, tmp_path):
    (tmp_path / "found.tsv").write_text(f"000000\td1asha_\t0.5\n{line}\n")
    with pytest.raises(DownstreamError, match=r"found\.tsv, line 2: .* of 1 proteins"):
        best_scores(tmp_path / "found.tsv", 1)


def test_coordinates_keep_their_columns():
    text = pdb_text("A", np.array([[-234.5678, 0.1, 99.9999]]))
    assert text.splitlines()[0][30:54] == "-234.568   0.100 100.000"
