"""Invented inputs for data_path.py: proteins as FASTA and as a pool, and many shards."""

import gzip
import io
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from plm_scaling.common.files import write_json
from plm_scaling.common.parts import part_name
from plm_scaling.pool.write import pool_part
from plm_scaling.tokens.format import vocabulary
from plm_scaling.tokens.format.shards import FORMAT, ShardWriter, shard_schema
from plm_scaling.tokens.read.dataset import TokenCorpus

ROW = 1024
BLOCK = 1 << 20
MANY_SHARDS, SHARD_ROWS = 1000, 400
SMALL_BYTES = 10_000_000  # of the file that slow tools get
LETTERS = np.frombuffer(vocabulary.STANDARD.encode(), np.uint8)


@dataclass
class Inputs:
    """Files that all measures share, and their sizes."""

    folder: Path
    fasta_bytes: int = 0
    tokens: int = 0
    small_bytes: int = 0
    corpus: TokenCorpus | None = None
    outputs: dict[str, str] = field(default_factory=dict)

    @property
    def fasta(self) -> Path:
        return self.folder / "proteins.fasta"

    @property
    def small(self) -> Path:
        return self.folder / "small.fasta"

    @property
    def database(self) -> Path:
        return self.folder / "pool" / part_name(0) / "sequences"

    def blocks(self, path: Path) -> list[bytes]:
        data = path.read_bytes()
        return [data[i : i + BLOCK] for i in range(0, len(data), BLOCK)]

    def new(self, name: str) -> Path:
        """A folder that is not there yet."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return self.folder / name


def make_inputs(folder: Path, megabytes: int) -> Inputs:
    """Proteins of log-normal lengths as FASTA (plain, gzip -6, zstd) and as a pool, all kept."""
    inputs = Inputs(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    text, size = io.BytesIO(), 0
    clean = folder / "clean" / "x"
    clean.mkdir(parents=True, exist_ok=True)
    number = 0
    with (clean / f"{part_name(0)}.fasta").open("wb") as cleaned:
        while (size := text.tell()) < megabytes * 1_000_000:
            length = int(np.clip(rng.lognormal(5.6, 0.7), 31, 5000))
            residues = rng.choice(LETTERS, length).tobytes()
            lines = b"\n".join(residues[i : i + 60] for i in range(0, length, 60))
            header = b">UniRef50_A%09d Uncharacterized protein n=1 Tax=unknown TaxID=2 RepID=%d\n"
            text.write(header % (number, number) + lines + b"\n")
            cleaned.write(b">%d\n%s\n" % (number, residues))
            inputs.tokens += length + 1
            number += 1
            if size < SMALL_BYTES:
                inputs.small_bytes = text.tell()
    content = text.getvalue()
    inputs.fasta_bytes = len(content)
    inputs.fasta.write_bytes(content)
    inputs.small.write_bytes(content[: inputs.small_bytes])
    with gzip.open(folder / "proteins.fasta.gz", "wb", compresslevel=6) as file:
        file.write(content)
    with pa.CompressedOutputStream(str(folder / "proteins.fasta.zst"), "zstd") as file:
        file.write(content)
    pool_part([clean], ["x"], 0, 1, "protein", folder / "pool" / part_name(0))
    select_all(folder, number)
    inputs.corpus = TokenCorpus.open(many_shards(folder / "many"), verify=False)
    return inputs


def select_all(folder: Path, records: int) -> None:
    """What the filter writes when it keeps every record."""
    (folder / "selected").mkdir(exist_ok=True)
    names = [np.repeat(name, records) for name in ("x", "train", "kept")]
    columns = [pa.array(column).dictionary_encode() for column in names]
    table = pa.table([np.arange(records, dtype=np.uint32), *columns],
                     names=["key", "source", "split", "stratum"])  # fmt: skip
    pq.write_table(table, folder / "selected" / f"{part_name(0)}.parquet")
    total = {"split": "train", "source": "x", "stratum": "kept", "records": records}
    write_json(folder / "selected" / "totals.json", [total])


def many_shards(folder: Path) -> Path:
    """A corpus of 1,000 shards of 400 rows."""
    folder.mkdir(exist_ok=True)
    schema = shard_schema(ROW, "many", "protein", "train", "x", "kept")
    rng = np.random.default_rng(1)
    shards = []
    for number in range(MANY_SHARDS):
        path = folder / f"{number}.arrow"
        writer = ShardWriter(path, schema)
        writer.write(rng.integers(1, 27, ROW * SHARD_ROWS, dtype=np.uint8))
        writer.finish()
        shards.append(
            {"path": path.name, "rows": SHARD_ROWS, "tokens": ROW * SHARD_ROWS, "sha256": "",
             "bytes": path.stat().st_size}
        )  # fmt: skip
    source = {"kind": "protein", "strata": {"kept": {"shards": shards}}}
    manifest = {"format": FORMAT, "vocabulary_sha256": vocabulary.SHA256, "context_length": ROW,
                "corpus": "many", "splits": {"train": {"sources": {"x": source}}}}  # fmt: skip
    write_json(folder / "manifest.json", manifest)
    return folder / "manifest.json"
