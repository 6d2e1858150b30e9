"""Structures of generated proteins: pLDDT of ESMFold, TM-scores to known chains."""

import hashlib
import os
import shutil
import signal
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from forks import exit_code, fork
from transformers import EsmConfig, EsmForProteinFolding

from plm_scaling.common.errors import DownstreamError, InferenceError
from plm_scaling.downstream.generation.by_models import structures
from plm_scaling.downstream.generation.by_models.esmfold import predicted
from plm_scaling.downstream.generation.by_models.measured import Measured, Saved
from plm_scaling.downstream.generation.by_models.others import OtherModels
from plm_scaling.downstream.generation.by_models.structures import kept_structures
from plm_scaling.downstream.generation.by_models.tm_align import known_chains, tm_scores
from plm_scaling.downstream.generation.proteins import Proteins

BY = "plm_scaling.downstream.generation.by_models"
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


def test_structures_are_those_of_the_model(esmfold, tmp_path):
    proteins = Proteins([b"MKVLAGIV", b"ACDEFGHIKLMNP"])
    found = predicted(proteins.sequences, esmfold, 1)
    model = EsmForProteinFolding.from_pretrained(esmfold).eval()
    for sequence, (sure, own) in zip(proteins.sequences, found, strict=True):
        with torch.no_grad():
            text = model.infer_pdb(sequence.decode())
        alpha = [line for line in text.splitlines() if line[12:16] == " CA "]
        expected = [[float(line[i : i + 8]) for i in (30, 38, 46)] for line in alpha]
        np.testing.assert_allclose(own, expected, atol=2e-3)
        confidence = [100 * float(line[60:66]) for line in alpha]
        assert sure == pytest.approx(np.mean(confidence), abs=1)


def test_what_is_not_installed_is_missing_and_says_so(esmfold, tmp_path, monkeypatch):
    proteins, kept = Proteins([b"MKVLA"]), tmp_path / "own.structures.npz"
    monkeypatch.setattr(f"{BY}.others.which", lambda name: None)
    monkeypatch.setattr(f"{BY}.others.find_spec", lambda name: None)
    strict = OtherModels(esmfold=esmfold, structures=tmp_path)
    with pytest.raises(DownstreamError, match="neither Foldseek nor TM-align"):
        strict.measured(proteins, "", kept)
    assert not kept.exists()  # said before hours of folding
    found = replace(strict, lenient=True).measured(proteins, "", kept)
    assert 0 < found.plddt[0] < 100
    assert found.nats is None
    assert found.tm_score is None
    assert "neither Foldseek nor TM-align" in found.missing["mean_tm_score"]
    assert "--forcerun measure_proteins" in found.missing["mean_tm_score"]
    assert "--model" in found.missing["model_perplexity"]
    found.save(tmp_path / "own.npz", proteins)
    again = Saved({"generated": tmp_path / "own.npz"}).measured(proteins, "generated", kept)
    assert again.plddt == found.plddt
    assert again.missing == found.missing
    with pytest.raises(DownstreamError, match=r"own\.npz: measured of other proteins; remove it"):
        Measured.load(tmp_path / "own.npz", Proteins([b"MKVLV"]))


def test_what_is_not_there_is_an_error_or_missing(tmp_path):
    """By the command an error, in a study, whose other measures count, missing."""
    proteins, none = Proteins([b"MKVLA"]), tmp_path / "none"
    with pytest.raises(InferenceError, match="none"):
        OtherModels(str(none)).measured(proteins, "", none)
    found = OtherModels(str(none), none, tmp_path, lenient=True).measured(proteins, "", none)
    assert found.nats is None
    assert found.plddt is None
    assert str(none) in found.missing["model_perplexity"]
    assert f"{none} is no folder; put ESMFold there" in found.missing["mean_plddt"]
    assert found.missing["mean_tm_score"] == found.missing["mean_plddt"]


def test_structures_are_kept_when_what_follows_fails(esmfold, tmp_path, monkeypatch):
    """And predicted again of other proteins or weights alone."""
    proteins, kept, known = Proteins([b"MKVLA", b"MK"]), tmp_path / "kept.npz", tmp_path / "known"
    calls, own = [], tmp_path / "esmfold"
    shutil.copytree(esmfold, own)
    monkeypatch.setattr(f"{BY}.others.which", lambda name: "/none/foldseek")
    monkeypatch.setattr(f"{BY}.esmfold.predicted", lambda *of: calls.append(of) or predicted(*of))
    models = OtherModels(esmfold=own, structures=known)
    with pytest.raises(DownstreamError, match="known: no PDB or mmCIF file"):
        models.measured(proteins, "", kept)
    assert not calls
    known.mkdir()
    (known / "one.pdb").write_text(pdb("AGV", helix(3)))
    with monkeypatch.context() as patch:
        patch.setattr(f"{BY}.foldseek.foldseek_scores", failed)
        with pytest.raises(DownstreamError, match="Foldseek failed"):
            models.measured(proteins, "", kept)
    given = []
    monkeypatch.setattr(
        f"{BY}.foldseek.foldseek_scores", lambda *of: given.append(of) or np.array([0.5, np.nan])
    )
    found = models.measured(proteins, "", kept)
    assert len(calls) == 1
    assert found.facts["tm_scores_by"] == "foldseek"
    whole = [*predicted(proteins.sequences, own, 1)]
    np.testing.assert_array_equal(found.plddt, [one.plddt for one in whole])
    for read, expected in zip(given[0][2], whole, strict=True):
        np.testing.assert_array_equal(read, expected.places)
    models.measured(Proteins([b"MKVLV"]), "", kept)
    assert len(calls) == 2
    (own / "config.json").write_text((own / "config.json").read_text() + "\n")
    models.measured(Proteins([b"MKVLV"]), "", kept)
    assert len(calls) == 3


def failed(*of):
    raise DownstreamError("Foldseek failed")


def test_killed_in_the_middle_no_protein_is_folded_twice(esmfold, tmp_path, monkeypatch):
    """Nor one that stands in the set twice; the end is the same file."""
    proteins = Proteins([b"MKVLA", b"MK", b"ACDEFGHIKL", b"MK", b"WYV"])
    whole = kept_structures(tmp_path / "whole.npz", proteins, esmfold, 1)
    kept, asked = tmp_path / "kept.npz", []
    parts = tmp_path / ".kept.npz.parts"

    def two_and_killed(sequences, *how):
        yield from islice(predicted(sequences, *how), 2)
        os.kill(os.getpid(), signal.SIGKILL)

    def in_the_middle():
        monkeypatch.setattr(f"{BY}.esmfold.predicted", two_and_killed)
        kept_structures(kept, proteins, esmfold, 1)

    assert exit_code(fork(in_the_middle)) == -signal.SIGKILL
    assert len([*parts.glob("*.npz")]) == 2
    assert not kept.exists()
    monkeypatch.setattr(
        f"{BY}.esmfold.predicted", lambda *of: asked.append((of[0], of[3])) or predicted(*of)
    )
    found = kept_structures(kept, proteins, esmfold, 1)
    assert asked == [([b"ACDEFGHIKL", b"WYV"], 2)]
    assert not parts.exists()
    for own, expected in zip([found[0], *found[1]], [whole[0], *whole[1]], strict=True):
        np.testing.assert_array_equal(own, expected)
    assert kept.read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_structures_that_are_damaged_or_of_other_weights_are_predicted(esmfold, tmp_path):
    proteins, parts = Proteins([b"MKVLA", b"MK"]), tmp_path / ".kept.npz.parts"
    parts.mkdir()
    for one, content in zip(proteins.sequences, (b"PK", b""), strict=True):
        (parts / f"{hashlib.sha256(one).hexdigest()}.npz").write_bytes(content)
    plddt, _ = kept_structures(tmp_path / "kept.npz", proteins, esmfold, 1)
    np.testing.assert_array_equal(
        plddt, [one.plddt for one in predicted(proteins.sequences, esmfold, 1)]
    )
    parts = tmp_path / ".other.npz.parts"
    parts.mkdir()
    other = parts / f"{hashlib.sha256(b'WYV').hexdigest()}.npz"
    np.savez(other, made_of=np.array("{}"), plddt=7.0, places=np.zeros((3, 3)))
    plddt, _ = kept_structures(tmp_path / "other.npz", Proteins([b"WYV"]), esmfold, 1)
    assert plddt[0] != 7


def test_damaged_byte_gives_the_same_structure_or_none(tmp_path):
    """Any byte: no error of another kind, no structure of other numbers."""
    part, places = tmp_path / "part.npz", np.arange(15.0).reshape(5, 3)
    with part.open("wb") as out:
        np.savez(out, made_of=np.array("{}"), plddt=7.0, places=places)
    whole = part.read_bytes()
    damaged = 0
    for place in range(len(whole)):
        for flip in (1, 2, 8, 12, 64, 255):
            part.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            read = structures._read(part, "{}")
            damaged += read is None
            assert read is None or (read.plddt == 7 and np.array_equal(read.places, places))
    assert damaged > len(whole)
    for end in range(len(whole)):
        part.write_bytes(whole[:end])
        assert structures._read(part, "{}") is None


def test_parts_are_removed_and_what_is_damaged_is_predicted_also_when_all_were_folded(
    esmfold, tmp_path, monkeypatch, caplog
):
    proteins, kept = Proteins([b"MKVLA", b"MK"]), tmp_path / "kept.npz"

    def killed(path):
        os.kill(os.getpid(), signal.SIGKILL)

    def just_after_the_file():
        monkeypatch.setattr(structures, "remove", killed)
        kept_structures(kept, proteins, esmfold, 1)

    assert exit_code(fork(just_after_the_file)) == -signal.SIGKILL
    parts = tmp_path / ".kept.npz.parts"
    assert len([*parts.iterdir()]) == 2
    whole = kept.read_bytes()
    kept_structures(kept, proteins, esmfold, 1)
    assert [*tmp_path.iterdir()] == [kept]
    kept.write_bytes(whole[:200] + b"?" + whole[201:])
    kept_structures(kept, proteins, esmfold, 1)
    assert kept.read_bytes() == whole
    assert f"{kept} is damaged (" in caplog.text


def test_folder_without_esmfold_is_refused(tmp_path):
    with pytest.raises(DownstreamError, match="no ESMFold"):
        next(predicted([b"MKV"], tmp_path, 1))
    with pytest.raises(DownstreamError, match="is no folder; put ESMFold there"):
        next(predicted([b"MKV"], tmp_path / "none", 1))


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
