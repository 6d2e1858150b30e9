"""A cell trains on the shards of `plm-scaling data tokenize` (docs/data.md)."""

from pathlib import Path

from corpora import random_sequences
from fasta_tokens import tokenize
from training import small_cell, trained


def test_cell_learns_from_the_shards_of_data_tokenize(root: Path, tmp_path: Path) -> None:
    paths = tmp_path / "train.fasta", tmp_path / "valid.fasta"
    for path, n, seed in zip(paths, (600, 120), (1, 2), strict=True):
        sequences = enumerate(random_sequences(n, seed))
        path.write_text("".join(f">{i}\n{sequence}\n" for i, sequence in sequences))
    manifest = tokenize(tmp_path, paths[0], valid=[paths[1]])
    result, curve = trained(small_cell(root, mixture={"mine": 1.0}), manifest, tmp_path)
    assert result["status"] == "finished"
    assert set(result["held_out_losses"]) == {"valid", "valid/mine"}
    losses = curve[curve.split == "valid"].loss
    assert losses.iloc[-1] < losses.iloc[0] - 0.05
