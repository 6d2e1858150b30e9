"""Throughput of the data path on one core, beside the limits of the machine and other tools.

OMP_NUM_THREADS=1 python benchmarks/data_path.py --scratch FOLDER --out TABLE.md \
    [--megabytes 100] [--rounds 5] [--tokenizers-python VENV/bin/python]

Everything runs on the same invented FASTA file, one measure after the other in every round, and
each gets the median of its CPU-seconds over the rounds: on a shared machine ratios within one run
say more than rates. To measure something else add it to `MEASURES`. `tokenizers` is no dependency:
give an interpreter that has it.
"""

import argparse
import gzip
import hashlib
import io
import json
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from Bio import SeqIO
from Bio.SeqIO.FastaIO import SimpleFastaParser
from isal import igzip

from plm_scaling.dedup.pool import pool_part
from plm_scaling.files import write_json
from plm_scaling.parts import part_name
from plm_scaling.tokens import vocabulary
from plm_scaling.tokens.dataset import TokenCorpus
from plm_scaling.tokens.fasta import tokenize_fasta, tokens_of
from plm_scaling.tokens.manifest import FORMAT
from plm_scaling.tokens.shards import ShardWriter, shard_schema
from plm_scaling.tokens.tokenize import tokenize_part

ROW = 1024
BLOCK = 1 << 20
BATCH = 64
MANY_SHARDS, SHARD_ROWS = 1000, 400
READS = 50_000  # rows read per round
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
    """Proteins of log-normal lengths as FASTA (plain, gzip, zstd) and as a pool, all kept."""
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


class Measure(NamedTuple):
    """`prepare` returns the work that is timed and how much it does, in `unit`.

    `goal` is that of one CPU-second on the machine of the notes, and `notes` what the prototype, or
    the limit, reached there.
    """

    section: str
    name: str
    unit: str
    prepare: Callable[[Inputs], tuple[Callable[[], object], float]]
    goal: float | None = None
    notes: float | None = None


def limit(work: Callable[[bytes], object], which: str = "fasta") -> Callable[..., object]:
    """A measure of something done to every block of a file."""

    def prepare(inputs: Inputs) -> tuple[Callable[[], object], float]:
        path = inputs.fasta if which == "fasta" else inputs.database
        blocks = inputs.blocks(path)
        return lambda: [work(block) for block in blocks], sum(map(len, blocks)) / 1e6

    return prepare


def read(inputs: Inputs) -> tuple[Callable[[], object], float]:
    def work() -> None:
        with inputs.fasta.open("rb") as file:
            while file.read(BLOCK):
                pass

    return work, inputs.fasta_bytes / 1e6


def inflate(inputs: Inputs) -> tuple[Callable[[], object], float]:
    def work() -> None:
        with igzip.open(inputs.folder / "proteins.fasta.gz", "rb") as file:
            while file.read(BLOCK):
                pass

    return work, inputs.fasta_bytes / 1e6


def write(inputs: Inputs) -> tuple[Callable[[], object], float]:
    block = bytes(BLOCK)

    def work() -> None:
        with (inputs.folder / "written").open("wb") as file:
            for _ in range(64):
                file.write(block)
        (inputs.folder / "written").unlink()

    return work, 64 * BLOCK / 1e6


HEADERS = re.compile(b">[^\n]*\n")
WITH_EOD = bytes(vocabulary.RESIDUE_ID.get(chr(b), vocabulary.EOD) for b in range(256))


def write_arrow(tokens: bytes, path: Path) -> None:
    """Rows cut from the stream wherever they end."""
    n = len(tokens) // ROW
    values = pa.UInt8Array.from_buffers(pa.uint8(), n * ROW, [None, pa.py_buffer(tokens)])
    batch = pa.record_batch([pa.FixedSizeListArray.from_arrays(values, ROW)], ["tokens"])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def prototype_fasta(inputs: Inputs) -> tuple[Callable[[], object], float]:
    def work() -> None:
        with inputs.fasta.open("rb") as file:
            stream, rest = [], b""
            while block := file.read(BLOCK):
                data = rest + block
                cut = data.rfind(b"\n>") + 1
                chunk, rest = data[:cut], data[cut:]
                stream.append(HEADERS.sub(b">", chunk).translate(WITH_EOD, b"\n\r"))
            stream.append(HEADERS.sub(b">", rest).translate(WITH_EOD, b"\n\r"))
        write_arrow(b"".join(stream), inputs.folder / "prototype.arrow")

    return work, inputs.fasta_bytes / 1e6


def prototype_database(inputs: Inputs) -> tuple[Callable[[], object], float]:
    def work() -> None:
        with inputs.database.open("rb") as file:
            stream = [
                block.translate(WITH_EOD, b"\n") for block in iter(lambda: file.read(BLOCK), b"")
            ]
        write_arrow(b"".join(stream), inputs.folder / "prototype.arrow")

    return work, inputs.tokens / 1e6


def own_fasta(suffix: str) -> Callable[..., object]:
    """FASTA to shards and manifest, packed and with checksums."""

    def prepare(inputs: Inputs) -> tuple[Callable[[], object], float]:
        path = inputs.fasta.with_name(inputs.fasta.name + suffix)

        def work() -> None:
            tokenize_fasta([path], [], "x", "c", ROW, 10**6, inputs.new("tokens"))

        return work, inputs.fasta_bytes / 1e6

    return prepare


def own_database(inputs: Inputs) -> tuple[Callable[[], object], float]:
    def work() -> None:
        pool, selected = inputs.folder / "pool", inputs.folder / "selected"
        tokenize_part(pool, selected, 0, "c", ROW, 10**6, inputs.new("tokens"))

    return work, inputs.tokens / 1e6


def digest_of(inputs: Inputs, tool: str, tokens: bytes) -> None:
    inputs.outputs[tool] = hashlib.sha256(tokens).hexdigest()


def own_small(inputs: Inputs) -> tuple[Callable[[], object], float]:
    def work() -> None:
        digest_of(inputs, "plm-scaling", tokens_of(inputs.small))

    return work, inputs.small_bytes / 1e6


def seqio(inputs: Inputs) -> tuple[Callable[[], object], float]:
    def work() -> None:
        records = SeqIO.parse(inputs.small, "fasta")
        joined = b"".join(bytes(record.seq) + b"\n" for record in records)
        digest_of(inputs, "SeqIO", joined.translate(WITH_EOD))

    return work, inputs.small_bytes / 1e6


def simple_parser(inputs: Inputs) -> tuple[Callable[[], object], float]:
    def work() -> None:
        with inputs.small.open() as file:
            joined = "".join(sequence + "\n" for _, sequence in SimpleFastaParser(file))
        digest_of(inputs, "SimpleFastaParser", joined.encode().translate(WITH_EOD))

    return work, inputs.small_bytes / 1e6


def random_rows(inputs: Inputs) -> tuple[Callable[[], object], float]:
    assert inputs.corpus
    rows = inputs.corpus.rows("train", "x")
    index = np.random.default_rng(2).integers(0, len(rows), READS).tolist()
    return lambda: [rows[i].copy() for i in index], READS / 1e3


def random_batches(inputs: Inputs) -> tuple[Callable[[], object], float]:
    assert inputs.corpus
    rows = inputs.corpus.rows("train", "x")
    index = np.random.default_rng(2).integers(0, len(rows), (READS // BATCH, BATCH))
    return lambda: [rows.read(batch) for batch in index], index.size / 1e3


def one_array(inputs: Inputs) -> tuple[Callable[[], object], float]:
    rng = np.random.default_rng(1)
    whole = rng.integers(1, 27, (MANY_SHARDS * SHARD_ROWS, ROW), dtype=np.uint8)
    index = rng.integers(0, len(whole), (READS // BATCH, BATCH))
    return lambda: [whole[batch] for batch in index], index.size / 1e3


def training_order(inputs: Inputs) -> tuple[Callable[[], object], float]:
    assert inputs.corpus
    order = inputs.corpus.train_rows({"x": 1.0}, seed=1)
    return lambda: [order.batch(i, 4096) for i in range(0, READS, 4096)], READS / 1e3


def open_many(inputs: Inputs) -> tuple[Callable[[], object], float]:
    manifest = inputs.folder / "many" / "manifest.json"
    return lambda: TokenCorpus.open(manifest, verify=False), 1


PAIRS = pa.array(np.arange(1 << 16, dtype=np.uint16))


def translate_pairs(block: bytes) -> object:
    pairs = pa.UInt16Array.from_buffers(pa.uint16(), len(block) // 2, [None, pa.py_buffer(block)])
    return pc.take(PAIRS, pairs, boundscheck=False)


MEASURES = [
    Measure("limits", "read the file (page cache)", "MB", read, None, 6400),
    Measure("limits", "copy in memory", "MB", limit(bytearray)),
    Measure("limits", "write a file", "MB", write),
    Measure("limits", "bytes.translate", "MB", limit(lambda b: b.translate(WITH_EOD))),
    Measure("limits", "translate pairs of bytes (Arrow take)", "MB", limit(translate_pairs)),
    Measure("limits", "sha256", "MB", limit(lambda b: hashlib.sha256(b).digest())),
    Measure("limits", "inflate gzip (isal)", "MB", inflate, None, 448),
    Measure("FASTA", "prototype: unpacked, unchecked, no sha256", "MB", prototype_fasta, None, 534),
    Measure("FASTA", "plain FASTA to packed shards", "MB", own_fasta(""), 400),
    Measure("FASTA", "gzip to packed shards", "MB", own_fasta(".gz"), 200, 246),
    Measure("FASTA", "zstd to packed shards", "MB", own_fasta(".zst")),
    Measure("database", "prototype: unpacked, unsigned", "M tokens", prototype_database, None, 691),
    Measure("database", "pool part to packed shards", "M tokens", own_database, 600),
    Measure("other tools", "plm-scaling, tokens only", "MB", own_small, None, 609),
    Measure("other tools", "Biopython SimpleFastaParser", "MB", simple_parser, None, 202),
    Measure("other tools", "Biopython SeqIO", "MB", seqio, None, 132),
    Measure("reading", "one array in memory, batches of 64", "k rows", one_array),
    Measure("reading", "1,000 shards, batches of 64", "k rows", random_batches, 2000, 2900),
    Measure("reading", "1,000 shards, single rows, copied", "k rows", random_rows, 700, 770),
    Measure("reading", "1,000 shards, training order, 4,096 ahead", "k rows", training_order),
    Measure("reading", "open 1,000 shards", "corpora", open_many, 5),
]  # fmt: skip


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scratch", type=Path, required=True, help="folder for a few GB")
    parser.add_argument("--megabytes", type=int, default=100, help="of FASTA (default 100)")
    parser.add_argument("--rounds", type=int, default=5, help="of all measures (default 5)")
    parser.add_argument("--only", nargs="*", help="sections: " + ", ".join(sections()))
    parser.add_argument("--tokenizers-python", type=Path, help="interpreter with tokenizers")
    parser.add_argument("--out", type=Path, help="write the table here as well")
    args = parser.parse_args()

    inputs = make_inputs(args.scratch, args.megabytes)
    chosen = [m for m in MEASURES if not args.only or m.section in args.only]
    prepared = [m.prepare(inputs) for m in chosen]
    seconds: list[list[float]] = [[] for _ in chosen]
    for number in range(args.rounds + 1):
        for found, (work, _) in zip(seconds, prepared, strict=True):
            spent = cpu_seconds(work)
            if number:  # the first round warms caches and imports
                found.append(spent)
    rates = {
        m.name: amount / statistics.median(found)
        for m, (_, amount), found in zip(chosen, prepared, seconds, strict=True)
    }
    if args.tokenizers_python:
        rates |= hugging_face(args.tokenizers_python, inputs)
    text = table(chosen, rates, inputs, args)
    sys.stdout.write(text)
    if args.out:
        args.out.write_text(text)


def sections() -> list[str]:
    return list(dict.fromkeys(measure.section for measure in MEASURES))


def hugging_face(python: Path, inputs: Inputs) -> dict[str, float]:
    answer = subprocess.run(
        [python, Path(__file__).with_name("hf_tokens.py"), inputs.small, str(vocabulary.EOD)],
        input=json.dumps(vocabulary.RESIDUE_ID),
        capture_output=True,
        text=True,
        check=True,
    )
    reply = json.loads(answer.stdout)
    name = f"HF tokenizers {reply['version']}, BPE without merges"
    inputs.outputs[name] = reply["sha256"]
    return {name: inputs.small_bytes / 1e6 / reply["cpu_s"]}


def table(
    chosen: list[Measure], rates: dict[str, float], inputs: Inputs, args: argparse.Namespace
) -> str:
    """One Markdown table; tools are compared by the tokens they made."""
    lines = [
        f"{inputs.fasta_bytes / 1e6:.0f} MB of FASTA, {inputs.tokens / 1e6:.1f} M tokens, rows of "
        f"{ROW}; medians of {args.rounds} rounds; per CPU-second of one core.",
        "",
        "| | | per CPU-second | goal | on the notes' machine |",
        "|---|---|---|---|---|",
    ]
    units = {m.name: m for m in chosen}
    for name, rate in rates.items():
        m = units.get(name, Measure("other tools", name, "MB", read))
        goal = f"{m.goal:,.0f}" if m.goal else ""
        notes = f"{m.notes:,.0f}" if m.notes else ""
        lines.append(f"| {m.section} | {name} | {rate:,.4g} {m.unit} | {goal} | {notes} |")
    lines += ["", "Ratios:", ""]
    lines += [f"- {line}" for line in ratios(rates)]
    if len(set(inputs.outputs.values())) > 1:
        raise SystemExit(f"tools disagree about the tokens: {inputs.outputs}")
    if inputs.outputs:
        lines.append(f"- identical tokens: {', '.join(inputs.outputs)}")
    return "\n".join(lines) + "\n"


RATIOS = [
    ("plain FASTA to packed shards", "prototype: unpacked, unchecked, no sha256"),
    ("gzip to packed shards", "inflate gzip (isal)"),
    ("pool part to packed shards", "prototype: unpacked, unsigned"),
    ("pool part to packed shards", "bytes.translate"),
    ("plain FASTA to packed shards", "Biopython SeqIO"),
    ("plm-scaling, tokens only", "Biopython SeqIO"),
    ("1,000 shards, batches of 64", "one array in memory, batches of 64"),
]


def ratios(rates: dict[str, float]) -> list[str]:
    pairs = [pair for pair in RATIOS if all(name in rates for name in pair)]
    other = [name for name in rates if name.startswith("HF tokenizers")]
    pairs += [
        (own, name) for name in other for own in ("plm-scaling, tokens only",) if own in rates
    ]
    pairs += [
        (own, name) for name in other for own in ("plain FASTA to packed shards",) if own in rates
    ]
    return [f"{a} / {b}: {rates[a] / rates[b]:.3g}" for a, b in pairs]


if __name__ == "__main__":
    main()
