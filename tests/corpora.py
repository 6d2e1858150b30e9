"""Token corpora for tests, made by the real tokenizer from real MMseqs2 databases."""

import json
import random
from pathlib import Path

from plm_scaling.dedup.mmseqs import find_mmseqs
from plm_scaling.filter.select import selected_sequences
from plm_scaling.tokens.tokenize import tokenize_corpus

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


def random_sequences(n: int, seed: int, motif: str = "MKV") -> list[str]:
    """Sequences of 10 to 150 residues in which a motif recurs: there is something to learn."""
    rng = random.Random(seed)
    return [
        "".join(rng.choice([motif, rng.choice(RESIDUES)]) for _ in range(rng.randint(10, 50)))
        for _ in range(n)
    ]


def write_corpus(folder: Path, context_length: int = 64, n: int = 300, seed: int = 1) -> Path:
    """Tokens of two sources, `a` and `b`, with a held-out split. Returns the manifest's path."""
    mmseqs = find_mmseqs("auto")
    for split, sequences in (("train", n), ("valid", n // 5)):
        for number, source in enumerate("ab"):
            fasta = folder / f"{split}.{source}.fasta"
            fasta.parent.mkdir(parents=True, exist_ok=True)
            texts = random_sequences(sequences, 10 * seed + number + 5 * (split == "valid"))
            fasta.write_text("".join(f">{i}\n{text}\n" for i, text in enumerate(texts)))
            database = selected_sequences(folder / "filter", split, source)
            database.parent.mkdir(parents=True, exist_ok=True)
            mmseqs.run("createdb", fasta, database, "--shuffle", "0")
    (folder / "filter/thresholds.json").write_text(json.dumps({"perplexity": {"a": {}, "b": {}}}))
    report = folder / "contamination.json"
    report.write_text(json.dumps({"clean": True, "criteria": {}}))
    tokenize_corpus(
        filter=folder / "filter",
        contamination=report,
        corpus="test",
        context_length=context_length,
        shard_rows=100,
        seed=seed,
        out=folder / "tokens",
    )
    return folder / "tokens/manifest.json"
