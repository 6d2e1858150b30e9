"""Structures of generated proteins: pLDDT of ESMFold, TM-scores to known chains."""

import numpy as np
import pytest
import torch
from transformers import EsmConfig, EsmForProteinFolding

from plm_scaling.common.errors import DownstreamError
from plm_scaling.downstream.generation.homology import resources_here
from plm_scaling.downstream.generation.proteins import Proteins
from plm_scaling.downstream.generation.structures import known_chains, predicted, tm_scores
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.mmseqs.tool import find_mmseqs

TRUNK = {
    **{"num_blocks": 1, "sequence_state_dim": 32, "pairwise_state_dim": 16},
    **{"sequence_head_width": 8, "pairwise_head_width": 8, "position_bins": 4, "max_recycles": 1},
    "structure_module": {
        **{"sequence_dim": 32, "pairwise_dim": 16, "ipa_dim": 4, "resnet_dim": 8},
        **{"num_heads_ipa": 2, "num_qk_points": 2, "num_v_points": 2, "num_blocks": 1},
    },
}
LETTERS = {"A": "ALA", "G": "GLY", "V": "VAL", "L": "LEU", "K": "LYS"}
ATOM = "ATOM  {:5d}  CA  {} {}{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00 50.00           C\n"


@pytest.fixture(scope="module")
def esmfold(tmp_path_factory):
    """A folder with an ESMFold of random weights."""
    folder = tmp_path_factory.mktemp("esmfold")
    torch.manual_seed(3)
    config = EsmConfig(
        vocab_size=33, mask_token_id=32, pad_token_id=1, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=16, position_embedding_type="rotary",
        is_folding_model=True, esmfold_config={"trunk": TRUNK, "fp16_esm": False},
    )  # fmt: skip
    EsmForProteinFolding(config).save_pretrained(folder, safe_serialization=True)
    return folder


def helix(n, turn=100.0):
    """Cα atoms of a helix."""
    angle = np.deg2rad(turn) * np.arange(n)
    return np.stack([2.3 * np.cos(angle), 2.3 * np.sin(angle), 1.5 * np.arange(n)], axis=1)


def pdb(sequence, places, chain="A"):
    return "".join(
        ATOM.format(i + 1, LETTERS[letter], chain, i + 1, *place)
        for i, (letter, place) in enumerate(zip(sequence, places, strict=True))
    )


def steps(folder):
    return Steps(folder / "table.tsv", "judge", {}, find_mmseqs("auto"), resources_here(1))


def test_structures_are_those_of_the_model(esmfold, tmp_path):
    proteins = Proteins([b"MKVLAGIV", b"ACDEFGHIKLMNP"])
    with steps(tmp_path) as of_stage:
        plddt, places = predicted(of_stage, "generated", proteins, esmfold, 1)
    model = EsmForProteinFolding.from_pretrained(esmfold).eval()
    for sequence, sure, own in zip(proteins.sequences, plddt, places, strict=True):
        with torch.no_grad():
            text = model.infer_pdb(sequence.decode())
        alpha = [line for line in text.splitlines() if line[12:16] == " CA "]
        expected = [[float(line[i : i + 8]) for i in (30, 38, 46)] for line in alpha]
        np.testing.assert_allclose(own, expected, atol=2e-3)
        confidence = [100 * float(line[60:66]) for line in alpha]
        assert sure == pytest.approx(np.mean(confidence), abs=1)


def test_folder_without_esmfold_is_refused(tmp_path):
    with steps(tmp_path) as of_stage, pytest.raises(DownstreamError, match="no ESMFold"):
        predicted(of_stage, "generated", Proteins([b"MKV"]), tmp_path, 1)


def test_chains_are_read_with_their_letters(tmp_path):
    both = pdb("AGVLK", helix(5)) + "TER\n" + pdb("KK", helix(2), "B")
    (tmp_path / "one.pdb").write_text(both + "END\n")
    ((letters, places),) = known_chains(tmp_path)
    assert letters == "AGVLK"
    np.testing.assert_allclose(places, helix(5), atol=1e-3)
    with pytest.raises(DownstreamError, match="no PDB or mmCIF file"):
        list(known_chains(tmp_path.parent / "nothing"))


def test_no_known_chain_is_an_error_and_no_score_of_0(tmp_path):
    (tmp_path / "two.pdb").write_text(pdb("AG", helix(2)) + "END\n")
    with pytest.raises(DownstreamError, match="no protein chain"):
        tm_scores(Proteins([b"AGVLK"]), [helix(5)], tmp_path)


def test_tm_score_is_one_for_the_same_fold(tmp_path):
    pytest.importorskip("tmtools")
    sequence = "AGVLK" * 6
    (tmp_path / "helix.pdb").write_text(pdb(sequence, helix(30)) + "END\n")
    line = np.stack([3.8 * np.arange(30.0), np.zeros(30), np.zeros(30)], axis=1)
    proteins = Proteins([sequence.encode()] * 2)
    found = tm_scores(proteins, [helix(30)[:, [1, 2, 0]] + 5, line], tmp_path)
    assert found[0] == pytest.approx(1, abs=1e-3)
    assert found[1] < 0.6
