"""Token ids. They are part of the shard format: changing one makes a new format version."""

import hashlib
import json

PAD = 0
STANDARD = "ACDEFGHIKLMNPQRSTVWY"
AMBIGUOUS = "BJOUXZ"
RESIDUES = STANDARD + AMBIGUOUS  # ids 1 to 26
RESERVED = 27  # the study's table has a 27th letter that is not identified; kept free
MASK, GMASK, SMASK, EOD, SOP, EOP, EOS, UNK = range(28, 36)
SPECIAL = {
    "pad": PAD,
    "reserved": RESERVED,
    "mask": MASK,
    "gmask": GMASK,
    "smask": SMASK,
    "eod": EOD,
    "sop": SOP,
    "eop": EOP,
    "eos": EOS,
    "unk": UNK,
}
SIZE = 36
PADDED_SIZE = 128  # rows of the model's embedding: a multiple that suits the hardware

RESIDUE_ID = {letter: number for number, letter in enumerate(RESIDUES, start=1)}
VOCABULARY: dict[str, int] = {**SPECIAL, **RESIDUE_ID}
SHA256 = hashlib.sha256(json.dumps(VOCABULARY, sort_keys=True).encode()).hexdigest()

# For `bytes.translate(TRANSLATION, b"\n")` on the data of an MMseqs2 database, where a sequence
# ends with a newline, which is deleted, and NUL, which becomes eod.
TRANSLATION = bytes(EOD if byte == 0 else RESIDUE_ID.get(chr(byte), UNK) for byte in range(256))
DELETED = b"\n"
_LETTERS = bytes(
    ord(RESIDUES[token - 1]) if 1 <= token <= len(RESIDUES) else ord("?") for token in range(256)
)


def encode(entries: bytes) -> bytes:
    """Tokens of whole database entries `SEQUENCE\\n\\0`, each sequence followed by eod."""
    return entries.translate(TRANSLATION, DELETED)


def decode(tokens: bytes) -> str:
    """Residue letters of tokens; anything that is no residue becomes `?`."""
    return tokens.translate(_LETTERS).decode("ascii")
