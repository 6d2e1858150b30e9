"""Contact maps of structure files."""

import gzip
import io
import tarfile

import gemmi
import numpy as np
import pytest
from benchmark_files import ROOT

from plm_scaling.common.errors import DownstreamError
from plm_scaling.downstream.contacts.precision import RANGES, precision
from plm_scaling.downstream.contacts.structures import CONTACT, UNKNOWN, read_chains

ARCHIVE = ROOT / "resources/downstream/globins.tar.gz"


@pytest.fixture(scope="module")
def domain():
    """The domain d1asha_ as PDB text."""
    with tarfile.open(ARCHIVE) as archive:
        return archive.extractfile("d1asha_.pdb").read().decode()


def read(path, text):
    path.write_text(text)
    return list(read_chains(path))


def test_contacts_of_a_domain_are_those_measured_before(domain, tmp_path):
    (chain,) = read(tmp_path / "d1asha_.pdb", domain)
    assert (chain.name, len(chain.sequence)) == ("d1asha_", 147)
    row, column = np.nonzero(np.triu(chain.contacts == CONTACT))
    apart = column - row
    counted = [((apart >= a) & (apart <= b)).sum() for a, b in ((6, 11), (12, 23), (24, 200))]
    assert [*counted, (apart > 6).sum()] == [32, 23, 125, 169]
    assert not (chain.contacts == UNKNOWN).any()
    perfect = chain.contacts.astype(np.float32)
    long = precision(perfect, chain.contacts, RANGES["contacts_long"]).by_metric
    assert long["p_at_l"] == pytest.approx(125 / 147)
    assert long["p_at_l5"] == 1
    medium = precision(perfect, chain.contacts, RANGES["contacts_medium"]).by_metric
    assert medium["p_at_l5"] == pytest.approx(23 / 29)


def test_form_of_the_file_changes_nothing(domain, tmp_path):
    (expected,) = read(tmp_path / "a.pdb", domain)
    structure = gemmi.read_pdb_string(domain)
    structure.setup_entities()
    (tmp_path / "a.cif.gz").write_bytes(
        gzip.compress(structure.make_mmcif_document().as_string().encode())
    )
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        info = tarfile.TarInfo("folder/a.ent")
        info.size = len(domain)
        archive.addfile(info, io.BytesIO(domain.encode()))
    for name in ("a.cif.gz", "all.tar"):
        (found,) = read_chains(tmp_path / name)
        assert found.sequence == expected.sequence
        assert (found.contacts == expected.contacts).all()


def lines(domain):
    return domain.splitlines(keepends=True)


def number(line):
    return int(line[22:26]) if line.startswith("ATOM") else None


def test_missing_residues_keep_their_places_and_are_unknown(domain, tmp_path):
    (whole,) = read(tmp_path / "whole.pdb", domain)
    first = number(next(line for line in lines(domain) if line.startswith("ATOM")))
    gone = range(first + 40, first + 45)
    cut = "".join(line for line in lines(domain) if number(line) not in gone)
    places = np.arange(40, 45)
    (by_number,) = read(tmp_path / "cut.pdb", cut)
    assert by_number.sequence == whole.sequence[:40] + "XXXXX" + whole.sequence[45:]
    names = [gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA) for letter in whole.sequence]
    records = "".join(
        f"SEQRES {i // 13 + 1:3d} A {len(names):4d}  {' '.join(names[i : i + 13])}\n"
        for i in range(0, len(names), 13)
    )
    (by_sequence,) = read(tmp_path / "seqres.pdb", records + cut)
    assert by_sequence.sequence == whole.sequence
    for found in (by_number, by_sequence):
        assert (found.contacts[places] == UNKNOWN).all()
        assert (found.contacts[:, places] == UNKNOWN).all()
        kept = np.setdiff1d(np.arange(147), places)
        assert (found.contacts[np.ix_(kept, kept)] == whole.contacts[np.ix_(kept, kept)]).all()


def test_residue_without_backbone_is_unknown_and_one_of_unknown_kind_too(domain, tmp_path):
    first = number(next(line for line in lines(domain) if line.startswith("ATOM")))
    text = ""
    for line in lines(domain):
        if number(line) == first + 10 and line[12:16].strip() == "C":
            continue
        if number(line) == first + 20:
            line = line[:17] + "UNK" + line[20:]
        text += line
    (found,) = read(tmp_path / "a.pdb", text)
    unknown = np.flatnonzero(np.diagonal(found.contacts) == UNKNOWN)
    assert unknown.tolist() == [10, 20]
    assert found.sequence[20] == "X"


def test_modified_residue_is_read_as_its_parent_and_the_first_conformer_counts(domain, tmp_path):
    (expected,) = read(tmp_path / "plain.pdb", domain)
    first = number(next(line for line in lines(domain) if line.startswith("ATOM")))
    place = expected.sequence.index("M")
    text = ""
    for line in lines(domain):
        if number(line) == first + place:
            line = "HETATM" + line[6:17] + "MSE" + line[20:]
        elif number(line) == first + 60:  # a second conformer, far away
            text += line[:16] + "A" + line[17:]
            line = line[:16] + "B" + line[17:30] + f"{99:8.3f}" + line[38:]
        text += line
    (found,) = read(tmp_path / "a.pdb", text)
    assert found.sequence == expected.sequence
    assert (found.contacts == expected.contacts).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [("hello\n", "neither mmCIF nor PDB"), ("data_a\n_cell.length_a 1\n", "no protein chain")],
)
def test_file_that_is_no_structure_is_named(tmp_path, text, message):
    with pytest.raises(DownstreamError, match=f"bad.cif.*{message}"):
        read(tmp_path / "bad.cif", text)


def test_archive_cut_off_is_named(domain, tmp_path):
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(ARCHIVE.read_bytes()[:50_000])
    with pytest.raises(DownstreamError, match=r"cut\.tar\.gz cannot be read"):
        list(read_chains(cut))
