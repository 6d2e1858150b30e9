"""Tokenise a FASTA file with `tokenizers` of Hugging Face; CPU-seconds and a digest as JSON.

Started by data_path.py with an interpreter that has the package. The vocabulary comes on stdin:
a token of our table for every residue. Byte-pair encoding without merges is its fastest model here.
"""

import hashlib
import json
import sys
import time
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer, models


def sequences(path: str) -> list[str]:
    """The sequences of the file, without line ends."""
    records = Path(path).read_text().split(">")[1:]
    return [record.partition("\n")[2].replace("\n", "") for record in records]


if __name__ == "__main__":
    ids = json.load(sys.stdin)
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[]))
    best, joined = float("inf"), b""
    for _ in range(3):
        started = time.process_time()
        encoded = tokenizer.encode_batch(sequences(sys.argv[1]))
        joined = b"".join(bytes([*e.ids, int(sys.argv[2])]) for e in encoded)
        best = min(best, time.process_time() - started)
    digest = hashlib.sha256(joined).hexdigest()
    print(json.dumps({"cpu_s": best, "sha256": digest, "version": tokenizers.__version__}))
