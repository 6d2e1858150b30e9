"""The token table is part of the shard format."""

import string

import numpy as np
import pyarrow as pa
import pytest
from Bio.Data.IUPACData import extended_protein_letters, protein_letters
from hypothesis import given
from hypothesis import strategies as st

from plm_scaling.tokens.format import vocabulary
from plm_scaling.tokens.format.vocabulary import EOD, PAD, TABLES, UNK, decode, encode

END = b"\n\0"
PRINTABLE = "".join(map(chr, range(32, 127)))


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
    assert vocabulary.SHA256.startswith("1057cabc1903306a")


def test_vocabulary_every_token_has_its_own_id_within_the_model():
    ids = list(vocabulary.VOCABULARY.values())
    assert sorted(ids) == list(range(len(ids)))
    assert len(vocabulary.VOCABULARY) == len(ids) == 107 < vocabulary.PADDED_SIZE


def test_vocabulary_code_shares_capital_letters_and_nothing_else_with_proteins():
    code, protein = TABLES["code"].single, TABLES["protein"].single
    for byte in range(256):
        if chr(byte) in string.ascii_uppercase:
            assert code[byte] == protein[byte] == vocabulary.RESIDUE_ID[chr(byte)]
        elif chr(byte) in PRINTABLE + "\t\r":
            assert code[byte] > UNK == protein[byte]
        else:
            assert code[byte] == protein[byte] == {0: PAD, 10: EOD}.get(byte, UNK)


@given(sequence=st.text(vocabulary.RESIDUES, min_size=1))
def test_vocabulary_residues_survive_a_round_trip(sequence: str) -> None:
    assert decode(encode(sequence.encode() + END)[:-1]) == sequence


@given(text=st.text(PRINTABLE + "\t\n"))
def test_vocabulary_code_survives_a_round_trip(text: str) -> None:
    pooled = text.replace("\n", "\r").encode()
    assert decode(encode(pooled + END, "code")[:-1]) == text


@pytest.mark.parametrize("letter", [b"a", b"*", b"-", b"\r", b"\xff"])
def test_vocabulary_other_characters_are_unknown(letter: bytes) -> None:
    assert encode(letter + END) == bytes([UNK, EOD])


def test_vocabulary_special_tokens_are_shown_as_question_marks() -> None:
    assert decode(encode(b"MKX" + END + b"ACD" + END)) == "MKX?ACD?"


@pytest.mark.parametrize("kind", ["protein", "code"])
@given(data=st.binary().filter(lambda data: len(data) % 2 == 0))
def test_vocabulary_pairs_of_bytes_translate_like_bytes(kind: str, data: bytes) -> None:
    table = TABLES[kind]
    assert bytes(table.translate(pa.py_buffer(data))) == data.translate(table.single)
    assert table.pairs.to_numpy().dtype == np.uint16
