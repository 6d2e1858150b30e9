import gzip
import subprocess
from pathlib import Path

import pytest
from archives import tar_bytes, write_tar

from plm_scaling.common.errors import SourceError
from plm_scaling.mmseqs.tool import find_mmseqs
from plm_scaling.sources.read.colabfold import read_colabfold

SEQUENCES = {0: b"MKV", 1: b"MKVA", 2: b"ACD", 5: b"ACDE", 70_000: b"FGH", 70_001: b"FGHI"}
REPRESENTATIVES = [0, 2, 70_000]


def tsv(pairs: dict[int, bytes]) -> bytes:
    return b"".join(b"%d\t%s\n" % pair for pair in pairs.items())


def files(**changed: bytes) -> dict[str, bytes]:
    return {
        "db_aln.tsv": b"0\t0\t1\n",
        "db_h.tsv": tsv({key: b"header %d" % key for key in SEQUENCES}),
        "db.tsv": tsv(dict.fromkeys(REPRESENTATIVES, b"WWWW")),
        "db_seq.tsv": tsv(SEQUENCES),
        **{f"{name}.tsv": content for name, content in changed.items()},
    }


def read(path: Path, representatives: bool, chunk_bytes: int = 1 << 20, database: str = "db"):
    records = list(read_colabfold(path, database, representatives, chunk_bytes))
    kept = [pair for one in records for pair in zip(one.ids, one.sequences, strict=True)]
    return kept, [one for piece in records for one in piece.rejected]


@pytest.mark.parametrize("chunk_bytes", [1, 10, 1 << 20])
@pytest.mark.parametrize("late", ["db.tsv", "db_seq.tsv"])
@pytest.mark.parametrize("folder", ["", "./", "envdb/"])
def test_colabfold_representatives_and_members_share_all_sequences(
    tmp_path: Path, chunk_bytes: int, late: str, folder: str
) -> None:
    """Whichever of the two tables comes first in the archive."""
    content = files()
    content[late] = content.pop(late)
    path = write_tar(
        tmp_path / "db.tar.gz", {folder + name: text for name, text in content.items()}
    )
    by_id = {b"db:%d" % key: sequence for key, sequence in SEQUENCES.items()}
    chosen = [b"db:%d" % key for key in REPRESENTATIVES]
    kept, rejected = read(path, True, chunk_bytes)
    assert kept == [(name, by_id[name]) for name in chosen]
    others, more = read(path, False, chunk_bytes)
    assert others == [(name, by_id[name]) for name in by_id if name not in chosen]
    assert not rejected + more


@pytest.mark.parametrize("chunk_bytes", [5, 1 << 20])
def test_colabfold_bad_lines_are_set_aside_with_their_line(
    tmp_path: Path, chunk_bytes: int
) -> None:
    bad = b"0\tMKV\n1\tM-K\n2\t\nno key\n\n5\t>AC\n"
    bad += b"-7\tMK\n99999999999\tMK\n70000\tm*K\n70001\tMK\r\n8"
    path = write_tar(tmp_path / "db.tar.gz", files(db_seq=bad))
    kept, rejected = read(path, True, chunk_bytes)
    assert kept == [(b"db:0", b"MKV")]
    assert [(one.record, one.line, one.id, one.reason) for one in rejected] == [
        (2, 3, b"db:2", "no_sequence"),
        (3, 9, b"db:70000", "star_inside"),
    ]
    kept, rejected = read(path, False, chunk_bytes)
    assert kept == [(b"db:70001", b"MK")]
    assert [(one.line, one.id, one.reason) for one in rejected] == [
        (2, b"db:1", "illegal_character"),
        (4, b"", "no_name"),
        (5, b"", "no_name"),
        (6, b"db:5", "illegal_character"),
        (7, b"", "no_name"),
        (8, b"", "no_name"),
        (11, b"db:8", "no_sequence"),
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"db": b"0 x\n"}, "does not begin with a key"),
        ({"db": b"x\t0\n"}, "does not begin with a key"),
        ({"db": b"\n"}, "does not begin with a key"),
        ({"db": b"9999999999\tMK\n"}, "does not begin with a key"),
    ],
)
def test_colabfold_damaged_clusters_are_an_error(
    tmp_path: Path, changed: dict[str, bytes], words: str
) -> None:
    path = write_tar(tmp_path / "db.tar.gz", files(**changed))
    with pytest.raises(SourceError, match=words):
        read(path, True)


@pytest.mark.parametrize("missing", ["db.tsv", "db_seq.tsv"])
def test_colabfold_missing_table_is_named(tmp_path: Path, missing: str) -> None:
    content = files()
    del content[missing]
    path = write_tar(tmp_path / "db.tar.gz", content)
    with pytest.raises(SourceError, match=rf"db\.tar\.gz has no {missing}"):
        read(path, True)


def test_colabfold_truncated_archive_is_an_error(tmp_path: Path) -> None:
    whole = gzip.compress(tar_bytes(files()))
    path = tmp_path / "db.tar.gz"
    for lost in (3, 20, len(whole) // 2):
        path.write_bytes(whole[:-lost])
        with pytest.raises(SourceError, match="truncated"):
            read(path, False)
    plain = tar_bytes(files())
    path = tmp_path / "db.tar"
    path.write_bytes(plain[: plain.rindex(b"db_seq.tsv")])  # ends between two members
    with pytest.raises(SourceError, match="truncated"):
        read(path, False)


def test_colabfold_database_as_mmseqs_makes_it(tmp_path: Path, root: Path) -> None:
    """The published recipe: keys of the consensus sequences are those of the representatives."""
    fasta = tmp_path / "in.fasta"
    entries = gzip.decompress((root / "resources/demo/uniref_demo.fasta.gz").read_bytes())
    chosen = entries.split(b"\n>")[:300]
    fasta.write_bytes(b"\n>".join(chosen) + b"\n")

    def mmseqs(*arguments: str) -> None:
        command = [find_mmseqs("auto").path, *arguments]
        subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)

    mmseqs("createdb", "in.fasta", "seq")
    mmseqs("linclust", "seq", "clu", "tmp", "--min-seq-id", "0.3", "-c", "0.8", "--threads", "1")
    mmseqs("align", "seq", "seq", "clu", "aln", "-a", "-e", "inf", "--threads", "1")
    mmseqs("result2profile", "seq", "seq", "aln", "profile", "--threads", "1")
    mmseqs("profile2consensus", "profile", "consensus", "--threads", "1")
    for database, name in (("consensus", ""), ("seq", "_seq"), ("seq_h", "_h"), ("aln", "_aln")):
        mmseqs("prefixid", database, f"env{name}.tsv", "--tsv", "--threads", "1")
    mmseqs("result2repseq", "seq", "clu", "representatives", "--threads", "1")
    mmseqs("prefixid", "representatives", "expected.tsv", "--tsv", "--threads", "1")
    names = ("env_aln.tsv", "env_seq.tsv", "env.tsv", "env_h.tsv")
    path = write_tar(
        tmp_path / "env.tar.gz", {name: (tmp_path / name).read_bytes() for name in names}
    )
    lines = [line.split(b"\t") for line in (tmp_path / "expected.tsv").read_bytes().splitlines()]
    kept, rejected = read(path, True, 1000, "env")
    assert sorted(kept) == sorted((b"env:" + key, sequence) for key, sequence in lines)
    others, more = read(path, False, 1000, "env")
    assert 0 < len(others) < 300
    assert len(kept) + len(others) == 300
    assert not rejected + more
