"""The token table is part of the shard format."""

from Bio.Data.IUPACData import extended_protein_letters, protein_letters

from plm_scaling.tokens import vocabulary


def test_vocabulary_has_every_iupac_residue_letter_once():
    assert protein_letters == vocabulary.STANDARD
    assert sorted(vocabulary.RESIDUES) == sorted(extended_protein_letters)


def test_vocabulary_ids_of_special_tokens_are_those_of_the_study():
    # paper.md §1.2: <pad> 0, letters 1–27, then mask, gmask, smask, eod, sop, eop, eos, unk
    assert vocabulary.VOCABULARY["pad"] == 0
    names = ["mask", "gmask", "smask", "eod", "sop", "eop", "eos", "unk"]
    assert [vocabulary.VOCABULARY[name] for name in names] == list(range(28, 36))
    assert sorted(vocabulary.RESIDUE_ID.values()) == list(range(1, 27))
    assert vocabulary.PADDED_SIZE == 128


def test_vocabulary_has_not_changed_under_the_format_version():
    """A change of the table needs a new format version (tokens/shards.py) and a new value here."""
    assert vocabulary.SHA256.startswith("cbf14bdce79cc063")


def test_vocabulary_encodes_database_entries_and_decodes_them():
    tokens = vocabulary.encode(b"MKX\n\0ACD\n\0")
    assert list(tokens[3:4]) == [vocabulary.EOD]
    assert vocabulary.decode(tokens).replace("?", " ").split() == ["MKX", "ACD"]
