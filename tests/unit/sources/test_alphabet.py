"""Nucleotides are told from proteins, also from proteins that are made of few amino acids."""

import logging
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_tables import write_table

from plm_scaling.common.errors import SourceError
from plm_scaling.inference.fasta import survey
from plm_scaling.sources.clean import clean_source
from plm_scaling.sources.read.alphabet import Composition, suspicion
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.sources.read.inputs import Survey
from plm_scaling.tokens.write.fasta import tokenize_fasta


def drawn(weights: dict[str, float], length: int = 6000) -> str:
    return "".join(random.Random(1).choices(list(weights), list(weights.values()), k=length))


def seen(*texts: str) -> Composition:
    composition = Composition()
    for text in texts:
        composition.add(text.encode())
    return composition


NUCLEOTIDES = {
    "even": drawn(dict.fromkeys("ACGT", 1)),
    "lower case RNA": drawn(dict.fromkeys("acgu", 1)),
    "poor in G and C": drawn({"A": 42, "T": 42, "C": 8, "G": 8}),
    "rich in G and C": drawn({"A": 13, "T": 13, "C": 37, "G": 37}),
    "mostly N": drawn({"N": 80, "A": 5, "C": 5, "G": 5, "T": 5}),
    "masked by X": drawn({"X": 50, "A": 12, "C": 12, "G": 12, "T": 12}),
    "ambiguity codes": drawn({**dict.fromkeys("ACGT", 23), **dict.fromkeys("RYSWKMN", 1)}),
    "a few proteins among genes": drawn(dict.fromkeys("ACGT", 1))
    + drawn(dict.fromkeys("LIEP", 1), 400),
}
PROTEINS = {
    "usual": drawn(dict.fromkeys("ACDEFGHIKLMNPQRSTVWY", 1)),
    "heavy chain of fibroin": "GAGAGSGAGAGSGAGAGY" * 300,
    "spider silk": "GPGGYGPGQQGPGGYGPGQQGPSGPGSAAAAAAAAAA" * 100,
    "poly-alanine": "A" * 3000,
    "poly-glycine-alanine": "GA" * 2000,
    "poly-asparagine": "N" * 3000,
    "polyglutamine": "Q" * 1000,
    "antifreeze glycoprotein": "AATAATAATAATPATAATAATAATLIF" * 100,
    "antifreeze protein of beetles": "TCTGSADCTSCTAACTGCGSCPSAT" * 100,
    "metallothionein": "MDPNCSCATGGSCTCTGSCKCKECKCTSCKKSCCSCCPMSCAKCAQGCICKGASEKCSCCA" * 50,
    "chorion protein": "CGCGCGCGCGGYGGLGYGGLGCGGCGCGCGGCGYEGVAYAGE" * 100,
    "keratin-associated": "MCCNYYGNSCGGCGYGSGWSSSCGYGCGYGYGSGYGCGYGSGSGCGYGSG" * 50,
    "unknown residues": "X" * 3000,
    "nothing": "",
}  # fmt: skip


@pytest.mark.parametrize("kind", NUCLEOTIDES)
def test_nucleotides_of_any_composition_are_told(kind: str) -> None:
    composition = seen(NUCLEOTIDES[kind])
    assert composition.is_certain
    assert "these are nucleotides" in suspicion(composition)


@pytest.mark.parametrize("kind", PROTEINS)
def test_proteins_of_any_composition_are_none(kind: str) -> None:
    assert suspicion(seen(PROTEINS[kind])) == ""


def test_one_short_peptide_only_raises_a_doubt() -> None:
    for few in ("GATTACA", "ACGT" * 70):
        assert "may be nucleotides" in suspicion(seen(few))
    assert suspicion(seen("GATTAGA")) == ""  # no C


def test_letters_are_counted_in_any_pieces_and_cases() -> None:
    assert seen("ABc", "", "a", "-ccc").letters == {"A": 2, "B": 1, "C": 4}


def fasta_of(path: Path, *sequences: str) -> Path:
    path.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(sequences)))
    return path


@pytest.fixture
def genes(tmp_path: Path) -> Path:
    return fasta_of(tmp_path / "genes.fasta", *[NUCLEOTIDES["even"]] * 300)


def test_clean_stops_on_nucleotides_in_one_line(genes: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.tsv", {"name": "a"})
    with pytest.raises(SourceError, match=r"genes\.fasta: .* nucleotides.*100 % .* translate"):
        clean_source(table, "a", genes, 1, 1.0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_clean_stops_on_nucleotides_in_a_column(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.tsv", {"name": "a", "format": "parquet", "file": "a.parquet"})
    columns = pa.table({"sequence": [NUCLEOTIDES["even"]] * 20})
    pq.write_table(columns, tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"a\.parquet: .* nucleotides"):
        clean_source(table, "a", tmp_path / "a.parquet", 1, 1.0, tmp_path / "out")


def test_score_and_embed_stop_on_nucleotides(genes: Path, tmp_path: Path) -> None:
    found = Survey(tmp_path / "scores.tsv", skip_bad=True)
    with pytest.raises(SourceError, match="nucleotides"):
        survey("score", [genes], found)


def test_tokenize_stops_on_nucleotides(genes: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"genes\.fasta: .*nucleotides"):
        tokenize_fasta([genes], [], "a", "c", 64, 20, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_the_beginning_is_read(genes: Path) -> None:
    read: list[int] = []
    batches = read_fasta(genes, chunk_bytes=1 << 14)
    with pytest.raises(SourceError, match="nucleotides"):
        read.extend(sum(map(len, batch.sequences)) for batch in batches)
    assert sum(read) < 100_000 < genes.stat().st_size


def test_second_file_of_a_source_is_looked_at_too(genes: Path, tmp_path: Path) -> None:
    first = fasta_of(tmp_path / "proteins.fasta", *[PROTEINS["usual"]] * 300)
    with pytest.raises(SourceError, match=r"genes\.fasta: .*nucleotides"):
        list(read_fasta([first, genes]))


def test_a_doubt_is_said_and_nothing_stops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = fasta_of(tmp_path / "x.fasta", "GATTACA")
    with caplog.at_level(logging.WARNING, "plm_scaling"):
        (batch,) = read_fasta(path)
    assert batch.sequences == [b"GATTACA"]
    assert "x.fasta: these may be nucleotides" in caplog.text
