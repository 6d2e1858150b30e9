"""Token ids. They are part of the shard format: changing one makes a new format version.

Proteins and code share one table of 128 slots, so that one model reads both. Capital letters are
residues wherever they stand: `A` in code is the token of alanine. Every other printable ASCII
character, tab and the line end have ids of their own above those of the special tokens; any other
byte of code (beyond ASCII) is `unk`. The consequence: code needs one token per character, no
tokenizer has to be trained, nothing about proteins changes when code is added or left out, and the
26 letters carry what they mean in code into the embeddings of the residues, which is what the
experiment asks about. In a protein, what is no residue letter is `unk`.
"""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

STANDARD = "ACDEFGHIKLMNPQRSTVWY"
AMBIGUOUS = "BJOUXZ"
RESIDUES = STANDARD + AMBIGUOUS  # ids 1 to 26; together the 26 capital letters
# `reserved`: the study's table has a 27th letter that is not identified; kept free.
_SPECIAL = ("reserved", "mask", "gmask", "smask", "eod", "sop", "eop", "eos", "unk")
SPECIAL = {"pad": 0, **{name: number for number, name in enumerate(_SPECIAL, start=27)}}
PAD, MASK, EOD, SOP, UNK = (SPECIAL[name] for name in ("pad", "mask", "eod", "sop", "unk"))
CODE_CHARACTERS = "\n\t" + "".join(c for c in map(chr, range(32, 127)) if not c.isupper())
PADDED_SIZE = 128  # rows of the model's embedding: a multiple that suits the hardware

RESIDUE_ID = {letter: number for number, letter in enumerate(RESIDUES, start=1)}
CODE_ID = {character: number for number, character in enumerate(CODE_CHARACTERS, start=UNK + 1)}
VOCABULARY: dict[str, int] = {**SPECIAL, **RESIDUE_ID, **CODE_ID}
SHA256 = hashlib.sha256(json.dumps(VOCABULARY, sort_keys=True).encode()).hexdigest()

LINE_END = "\r"  # in the pool a document is one line: `\r` stands for its line ends


@dataclass(frozen=True)
class Table:
    """Token of each byte, and the same for pairs of bytes, which translates twice as fast."""

    single: bytes
    pairs: pa.Array

    @classmethod
    def of(cls, tokens: dict[str, int]) -> "Table":
        """The table in which `\\n`, which ends a sequence, is eod and NUL is pad."""
        known = {**tokens, "\n": EOD, "\0": PAD}
        single = bytes(known.get(chr(byte), UNK) for byte in range(256))
        pairs = np.arange(1 << 16, dtype=np.uint16).view(np.uint8)
        return cls(single, pa.array(np.frombuffer(single, np.uint8)[pairs].view(np.uint16)))

    def translate(self, data: pa.Buffer) -> np.ndarray:
        """The tokens (uint8) of a buffer of an even number of bytes."""
        pairs = pa.UInt16Array.from_buffers(pa.uint16(), data.size // 2, [None, data])
        tokens = pc.take(self.pairs, pairs, boundscheck=False)
        return np.frombuffer(tokens.buffers()[1], np.uint8, data.size)


TABLES = {
    "protein": Table.of(RESIDUE_ID),
    "code": Table.of({**RESIDUE_ID, **CODE_ID, LINE_END: CODE_ID["\n"]}),
}
_CHARACTERS = {number: character for character, number in (RESIDUE_ID | CODE_ID).items()}
_LETTERS = bytes(ord(_CHARACTERS.get(token, "?")) for token in range(256))


def encode(entries: bytes, kind: str = "protein", start_token: bool = False) -> bytes:
    """Tokens of whole database entries `SEQUENCE\\n\\0`, each sequence followed by eod and, with
    `start_token`, after sop."""
    table = TABLES[kind].single
    if not start_token:
        return entries.translate(table, b"\0")
    return (b"\0" + entries[:-1]).translate(table).replace(bytes([PAD]), bytes([SOP]))


def decode(tokens: bytes) -> str:
    """Letters or characters of tokens of either kind; special tokens become `?`."""
    return tokens.translate(_LETTERS).decode("ascii")
