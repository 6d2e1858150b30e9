"""Small pieces for contacts and probes, from files of public benchmarks (README.md says where):
globins.tar.gz has the backbone and Cβ atoms of 26 domains of one fold, gb1_demo.csv.gz the variants
of GB1 with one or two changes, to train on, and every tenth of the others, to test.

python resources/downstream/make_structure.py FOLDER resources/downstream

FOLDER holds foldseek_example_scop_a.1.tar.gz, and splits.zip and 5LDE_1.fasta of FLIP's gb1. The
files are the same, byte for byte, where Python is linked to zlib.
"""

import csv
import gzip
import io
import sys
import tarfile
import zipfile
from pathlib import Path

ATOMS = ("N", "CA", "C", "CB")
TRAIN_CHANGES = 2
VALID_EVERY, TEST_EVERY = 8, 10


def structures(source: Path, out: Path) -> None:
    with tarfile.open(source) as archive:
        texts = {}
        for member in archive.getmembers():
            stored = archive.extractfile(member) if member.name.endswith(".pdb") else None
            if stored is not None:
                texts[Path(member.name).name] = stored.read().decode()
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, text in sorted(texts.items()):
            lines = text.splitlines(keepends=True)
            kept = "".join(line for line in lines if line[12:16].strip() in ATOMS).encode()
            info = tarfile.TarInfo(name)
            info.size = len(kept)
            archive.addfile(info, io.BytesIO(kept))
    out.write_bytes(gzip.compress(plain.getvalue(), mtime=0))


def variants(source: Path, wild_type: str, out: Path) -> None:
    with zipfile.ZipFile(source) as archive:
        text = archive.read("splits/two_vs_rest.csv").decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    kinds: dict[str, list[dict[str, str]]] = {"train": [], "test": []}
    for row in rows:
        changes = sum(a != b for a, b in zip(row["sequence"], wild_type, strict=True))
        kinds["train" if changes <= TRAIN_CHANGES else "test"].append(row)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["sequence", "target", "split"])
    for i, row in enumerate(kinds["train"]):
        writer.writerow([row["sequence"], row["target"], "train" if i % VALID_EVERY else "valid"])
    for row in kinds["test"][::TEST_EVERY]:
        writer.writerow([row["sequence"], row["target"], "test"])
    out.write_bytes(gzip.compress(table.getvalue().encode(), mtime=0))


def main() -> None:
    source, out = map(Path, sys.argv[1:])
    structures(source / "foldseek_example_scop_a.1.tar.gz", out / "globins.tar.gz")
    wild_type = "".join((source / "5LDE_1.fasta").read_text().splitlines()[1:])
    variants(source / "splits.zip", wild_type, out / "gb1_demo.csv.gz")


if __name__ == "__main__":
    main()
