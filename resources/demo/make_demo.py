"""Make the demo's sources: two of proteins, one of source code.

    python resources/demo/make_demo.py DB.fasta.gz resources/demo
    python resources/demo/make_demo.py COMMIT resources/demo

The first makes the proteins from DB.fasta.gz of the Debian package mmseqs2-examples, the second
the code from this repository's own Python files as they are in COMMIT.

Entries stay in the order of the file. Swiss-Prot entries and TrEMBL entries with evidence for the
protein or by homology (PE=1 to 3) make the UniRef-like part; predicted and uncertain TrEMBL entries
(PE=4 and 5) and fragments, which is what most metagenomic sequences are, make the metagenome-like
part. Entries longer than MAX_LENGTH are left out, and of the others the share KEPT whose accessions
have the smallest hashes is kept, so that both files together stay below 4 MB. The files
are gzip without a time stamp, so that the same input gives the same bytes.
"""

import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

KEPT = 0.89
MAX_LENGTH = 800  # residues and line ends


def read_entries(path: Path) -> list[str]:
    """FASTA entries, header and sequence lines as they are, each ending in a newline."""
    with gzip.open(path, "rt") as file:
        entries = ("\n" + file.read().rstrip("\n")).split("\n>")[1:]
    return [f">{entry}\n" for entry in entries]


def is_metagenome_like(entry: str) -> bool:
    """The rule of the partition, from the header alone."""
    header = entry.partition("\n")[0]
    if header.startswith(">sp|"):
        return False
    return " PE=4 " in header or " PE=5 " in header or "(Fragment)" in header


def is_kept(entry: str) -> bool:
    """Short enough, and of the fixed share of accessions with the smallest hashes."""
    if len(entry.partition("\n")[2]) > MAX_LENGTH:
        return False
    accession = entry.split("|")[1]
    digest = hashlib.sha256(accession.encode()).digest()
    return int.from_bytes(digest[:8], "big") < KEPT * 2**64


def make_code(commit: str, folder: Path) -> None:
    """Write the Python files of a commit to `folder`/code_demo.tar.gz: sorted, without dates."""
    git = ["git", "-C", str(Path(__file__).parent)]
    listed = subprocess.check_output(
        [*git, "ls-tree", "-r", "--full-tree", "--name-only", commit], text=True
    )
    names = sorted(name for name in listed.splitlines() if name.endswith(".py"))
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in names:
            content = subprocess.check_output([*git, "show", f"{commit}:{name}"])
            info = tarfile.TarInfo(f"plm-scaling/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    _write(folder / "code_demo.tar.gz", plain.getvalue(), len(names))


def _write(path: Path, content: bytes, count: int) -> None:
    compressed = gzip.compress(content, compresslevel=9, mtime=0)
    path.write_bytes(compressed)
    digest = hashlib.sha256(compressed).hexdigest()
    print(path.name, count, len(compressed), digest, sep="\t")


def make_proteins(database: Path, folder: Path) -> None:
    """Write both parts to `folder` and print what they hold."""
    entries = [entry for entry in read_entries(database) if is_kept(entry)]
    for name, wanted in (("uniref_demo", False), ("metagenome_demo", True)):
        part = [entry for entry in entries if is_metagenome_like(entry) == wanted]
        _write(folder / f"{name}.fasta.gz", "".join(part).encode(), len(part))


if __name__ == "__main__":
    if Path(sys.argv[1]).is_file():
        make_proteins(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        make_code(sys.argv[1], Path(sys.argv[2]))
