"""Throughput of the data path on one core, compared with the limits of the machine and other tools.

OMP_NUM_THREADS=1 python benchmarks/data_path.py --scratch FOLDER --out TABLE.md \
    [--megabytes 100] [--rounds 5] [--tokenizers-python VENV/bin/python]

Everything runs on the same invented FASTA file, one measure after the other in every round, and
each gets the median of its CPU-seconds over the rounds: on a shared machine ratios within one run
say more than rates. To measure something else add it to `MEASURES`. `tokenizers` is no dependency:
give an interpreter that has it.
"""

import argparse
import hashlib
import json
import re
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from Bio import SeqIO
from Bio.SeqIO.FastaIO import SimpleFastaParser
from data_path_inputs import BLOCK, MANY_SHARDS, ROW, SHARD_ROWS, Inputs, make_inputs
from isal import igzip

from plm_scaling.pool.read import Pool
from plm_scaling.tokens.format import vocabulary
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.tokens.write import fasta as fasta_tokens
from plm_scaling.tokens.write.fasta import tokenize_fasta
from plm_scaling.tokens.write.groups import GROUP_RECORDS
from plm_scaling.tokens.write.tokenize import tokenize_part

BATCH = 64
READS = 50_000  # rows read per round
Work = tuple[Callable[[], object], float]
Prepare = Callable[[Inputs], Work]


class Measure(NamedTuple):
    """`prepare` returns the work that is timed and how much it does, in `unit`.

    `goal` is that of one CPU-second on the machine of the notes, and `notes` what the prototype, or
    the limit, reached there.
    """

    section: str
    name: str
    unit: str
    prepare: Prepare
    goal: float | None = None
    notes: float | None = None


def limit(work: Callable[[bytes], object], which: str = "fasta") -> Prepare:
    """A measure of something done to every block of a file."""

    def prepare(inputs: Inputs) -> Work:
        path = inputs.fasta if which == "fasta" else inputs.database
        blocks = inputs.blocks(path)
        return lambda: deque(map(work, blocks), 0), sum(map(len, blocks)) / 1e6

    return prepare


def stream(opener: Callable[..., BinaryIO], suffix: str) -> Prepare:
    def prepare(inputs: Inputs) -> Work:
        def work() -> None:
            with opener(f"{inputs.fasta}{suffix}", "rb") as file:
                while file.read(BLOCK):
                    pass

        return work, inputs.fasta_bytes / 1e6

    return prepare


def gather(inputs: Inputs) -> Work:
    """Whole sequences, in random order within a group, a block at a time."""
    part = Pool.open(inputs.folder / "pool").parts[0]
    edges = part.index()[0].astype(np.int32)
    buffers = [None, pa.py_buffer(edges), pa.py_buffer(part.data())]
    pieces = pa.Array.from_buffers(pa.binary(), len(edges) - 1, buffers)
    order = np.random.default_rng(3).random(len(pieces)) + np.arange(len(pieces)) // GROUP_RECORDS
    blocks = np.array_split(np.argsort(order), edges[-1] // BLOCK)
    take = partial(pc.take, pieces, boundscheck=False)
    return lambda: deque(map(take, map(pa.array, blocks)), 0), edges[-1] / 1e6


def write(inputs: Inputs) -> Work:
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


def prototype_fasta(inputs: Inputs) -> Work:
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


def prototype_database(inputs: Inputs) -> Work:
    def work() -> None:
        with inputs.database.open("rb") as file:
            stream = [
                block.translate(WITH_EOD, b"\n") for block in iter(lambda: file.read(BLOCK), b"")
            ]
        write_arrow(b"".join(stream), inputs.folder / "prototype.arrow")

    return work, inputs.tokens / 1e6


def own_fasta(suffix: str) -> Prepare:
    """FASTA to shards and manifest, packed and with checksums."""

    def prepare(inputs: Inputs) -> Work:
        path = inputs.fasta.with_name(inputs.fasta.name + suffix)

        def work() -> None:
            tokenize_fasta([path], [], "x", "c", ROW, 10**6, inputs.new("tokens"))

        return work, inputs.fasta_bytes / 1e6

    return prepare


def own_database(inputs: Inputs) -> Work:
    def work() -> None:
        pool, selected = inputs.folder / "pool", inputs.folder / "selected"
        tokenize_part(pool, selected, 0, "c", ROW, 10**6, inputs.new("tokens"))

    return work, inputs.tokens / 1e6


def digest_of(inputs: Inputs, tool: str, tokens: bytes) -> None:
    inputs.outputs[tool] = hashlib.sha256(tokens).hexdigest()


def own_small(inputs: Inputs) -> Work:
    def work() -> None:
        # Without packing and shards, as the others.
        chunks = fasta_tokens._chunks(inputs.small, lambda: None)
        digest_of(
            inputs,
            "plm-scaling",
            b"".join(tokens[1:] + bytes([vocabulary.EOD]) for tokens, _ in chunks),
        )

    return work, inputs.small_bytes / 1e6


def seqio(inputs: Inputs) -> Work:
    def work() -> None:
        records = SeqIO.parse(inputs.small, "fasta")
        joined = b"".join(bytes(record.seq) + b"\n" for record in records)
        digest_of(inputs, "SeqIO", joined.translate(WITH_EOD))

    return work, inputs.small_bytes / 1e6


def simple_parser(inputs: Inputs) -> Work:
    def work() -> None:
        with inputs.small.open() as file:
            joined = "".join(sequence + "\n" for _, sequence in SimpleFastaParser(file))
        digest_of(inputs, "SimpleFastaParser", joined.encode().translate(WITH_EOD))

    return work, inputs.small_bytes / 1e6


def random_rows(inputs: Inputs) -> Work:
    assert inputs.corpus
    rows = inputs.corpus.rows("train", "x")
    index = np.random.default_rng(2).integers(0, len(rows), READS).tolist()
    return lambda: [rows[i].copy() for i in index], READS / 1e3


def random_batches(inputs: Inputs) -> Work:
    assert inputs.corpus
    rows = inputs.corpus.rows("train", "x")
    index = np.random.default_rng(2).integers(0, len(rows), (READS // BATCH, BATCH))
    return lambda: [rows.read(batch) for batch in index], index.size / 1e3


def one_array(inputs: Inputs) -> Work:
    rng = np.random.default_rng(1)
    whole = rng.integers(1, 27, (MANY_SHARDS * SHARD_ROWS, ROW), dtype=np.uint8)
    index = rng.integers(0, len(whole), (READS // BATCH, BATCH))
    return lambda: [whole[batch] for batch in index], index.size / 1e3


def open_many(inputs: Inputs) -> Work:
    manifest = inputs.folder / "many" / "manifest.json"
    return lambda: TokenCorpus.open(manifest, verify=False), 1


def translate_pairs(block: bytes) -> object:
    return vocabulary.TABLES["protein"].translate(pa.py_buffer(block).slice(0, len(block) & ~1))


MEASURES = [
    Measure("limits", "read the file (page cache)", "MB", stream(open, ""), None, 6400),
    Measure("limits", "gather sequences (Arrow take)", "MB", gather),
    Measure("limits", "write a file", "MB", write),
    Measure("limits", "bytes.translate", "MB", limit(lambda b: b.translate(WITH_EOD))),
    Measure("limits", "translate pairs of bytes (Arrow take)", "MB", limit(translate_pairs)),
    Measure("limits", "sha256", "MB", limit(lambda b: hashlib.sha256(b).digest())),
    Measure("limits", "inflate gzip (isal)", "MB", stream(igzip.open, ".gz"), None, 448),
    Measure("FASTA", "prototype: unpacked, unchecked, no sha256", "MB", prototype_fasta, None, 534),
    Measure("FASTA", "plain FASTA to packed shards", "MB", own_fasta(""), 400),
    Measure("FASTA", "gzip to packed shards", "MB", own_fasta(".gz"), 200, 246),
    Measure("FASTA", "zstd to packed shards", "MB", own_fasta(".zst")),
    Measure("database", "prototype: unpacked, no sha256", "M tokens", prototype_database, 0, 691),
    Measure("database", "pool part to packed shards", "M tokens", own_database, 600),
    Measure("other tools", "plm-scaling, tokens only", "MB", own_small, None, 609),
    Measure("other tools", "Biopython SimpleFastaParser", "MB", simple_parser, None, 202),
    Measure("other tools", "Biopython SeqIO", "MB", seqio, None, 132),
    Measure("reading", "one array in memory, batches of 64", "k rows", one_array),
    Measure("reading", "1,000 shards, batches of 64", "k rows", random_batches, 2000, 2900),
    Measure("reading", "1,000 shards, single rows, copied", "k rows", random_rows, 700, 770),
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
        m = units.get(name, Measure("other tools", name, "MB", seqio))
        goal = f"{m.goal:,.0f}" if m.goal else ""
        notes = f"{m.notes:,.0f}" if m.notes else ""
        lines.append(f"| {m.section} | {name} | {rate:,.4g} {m.unit} | {goal} | {notes} |")
    lines += ["", "Ratios:", ""]
    lines += [f"- {line}" for line in ratios(rates)]
    lines += [f"- {peak_memory(inputs, what)}" for what in ("from-pool", "from-gzip")]
    if len(set(inputs.outputs.values())) > 1:
        raise SystemExit(f"tools disagree about the tokens: {inputs.outputs}")
    if inputs.outputs:
        lines.append(f"- identical tokens: {', '.join(inputs.outputs)}")
    return "\n".join(lines) + "\n"


# Ours, the measure of the same run it is compared with, and what that one reached in the notes:
# rate / other · notes is what ours would reach on the notes' machine.
RATIOS = [
    ("plain FASTA to packed shards", "prototype: unpacked, unchecked, no sha256", 534),
    ("gzip to packed shards", "inflate gzip (isal)", 448),
    ("pool part to packed shards", "prototype: unpacked, no sha256", 691),
    ("plain FASTA to packed shards", "Biopython SeqIO", None),
    ("plm-scaling, tokens only", "Biopython SeqIO", None),
    ("1,000 shards, batches of 64", "one array in memory, batches of 64", None),
]


# What is done to every byte on the way from a pool to shards.
FLOOR = ["gather sequences (Arrow take)", "translate pairs of bytes (Arrow take)"]
FLOOR += ["write a file", "sha256"]


def ratios(rates: dict[str, float]) -> list[str]:
    own = ("plm-scaling, tokens only", "plain FASTA to packed shards")
    others = [name for name in rates if name.startswith("HF tokenizers")]
    lines = []
    for name, other, notes in [*RATIOS, *((a, b, None) for b in others for a in own)]:
        if name in rates and other in rates:
            ratio = rates[name] / rates[other]
            scaled = f"; times the notes' {notes}: {ratio * notes:,.0f}" if notes else ""
            lines.append(f"{name} / {other}: {ratio:.3g}{scaled}")
    if all(name in rates for name in [*FLOOR, "pool part to packed shards"]):
        floor = 1 / sum(1 / rates[name] for name in FLOOR)
        share = rates["pool part to packed shards"] / floor
        lines.append(f"pool part to packed shards / floor of {floor:,.0f} MB: {share:.3g}")
    return lines


# ru_maxrss would be that of this process, which is larger.
PEAK = """
import re, sys
from pathlib import Path
from plm_scaling.tokens.write.fasta import tokenize_fasta
from plm_scaling.tokens.write.tokenize import tokenize_part
folder, out = map(Path, sys.argv[1:])
if out.name == "from-pool":
    tokenize_part(folder / "pool", folder / "selected", 0, "c", 1024, 10**6, out)
else:
    tokenize_fasta([folder / "proteins.fasta.gz"], [], "x", "c", 1024, 10**6, out)
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def peak_memory(inputs: Inputs, what: str) -> str:
    """MiB of a process of its own, imports and mapped pages included."""
    command = [sys.executable, "-c", PEAK, str(inputs.folder), str(inputs.new(what))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return f"peak memory {what}: {int(done.stdout)} MiB (goal: under 500)"


if __name__ == "__main__":
    main()
