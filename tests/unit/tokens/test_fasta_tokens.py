"""One's own FASTA files straight to shards, and what `plm-scaling data` prints of them."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from Bio.SeqIO.FastaIO import SimpleFastaParser
from corpora import random_sequences, write_corpus
from fasta_tokens import pieces, sequences_of, tokenize
from hypothesis import given
from hypothesis import strategies as st

from plm_scaling.cli import data as data_cli
from plm_scaling.common.command_line import parse
from plm_scaling.common.errors import SourceError, TokenError
from plm_scaling.tokens.format.vocabulary import RESIDUES, decode, encode
from plm_scaling.tokens.read.inspect import inspect_tokens
from plm_scaling.tokens.write import fasta

TEXT = "".join(
    f">{i} some protein > of something\n{s[:60]}\n{s[60:]}\n"
    for i, s in enumerate(random_sequences(200, 3))
)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_fasta_every_sequence_is_in_the_shards(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"proteins.fasta{suffix}"
    match suffix:
        case ".gz":
            path.write_bytes(gzip.compress(TEXT.encode()))
        case ".zst":
            path.write_bytes(pa.compress(TEXT.encode(), "zstd", asbytes=True))
        case _:
            path.write_text(TEXT)
    held_out = tmp_path / "valid.fasta"
    held_out.write_text(">a\nMKV\n>b\nACD\n")
    manifest = tokenize(tmp_path, path, valid=[held_out])
    assert sequences_of(manifest) == pieces(random_sequences(200, 3))
    assert sequences_of(manifest, "valid") == ["ACD?", "MKV?"]
    listed = json.loads(manifest.read_text())["splits"]["train"]["sources"]["mine"]
    assert listed["sequences"] == 200
    assert {s["rows"] for s in listed["strata"]["kept"]["shards"][:-1]} == {20}


def test_fasta_with_start_tokens_has_one_before_each_sequence(tmp_path: Path) -> None:
    long = "MKVLA" * 30
    (tmp_path / "a").write_text(f">1\nMKV\n>2\n{long}\n>3\nACD\n")
    manifest = tokenize(tmp_path, tmp_path / "a", start_token=True)
    expected = ["?MKV?", "?ACD?", f"?{long[:63]}", long[63:127], f"{long[127:]}?"]
    assert sequences_of(manifest) == sorted(expected)
    shown = inspect_tokens(manifest)
    assert "start tokens" in shown
    assert "\n  MKV" in shown


def test_fasta_several_files_are_one_source(tmp_path: Path) -> None:
    for name, text in (("a", ">1\nMKV"), ("b", ">2\nACD\n")):  # the first lacks its last line end
        (tmp_path / name).write_text(text)
    assert sequences_of(tokenize(tmp_path, tmp_path / "a", tmp_path / "b")) == ["ACD?", "MKV?"]


def letters(sequence: str) -> str:
    """As the tokens have them."""
    return decode(encode(f"{sequence}\n\0".encode())[:-1])


records = st.lists(
    st.tuples(st.text("ab>| ", max_size=9), st.text(RESIDUES, min_size=1)), min_size=1
)


@given(
    records=records,
    width=st.integers(1, 30),
    block=st.integers(1, 99),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_fasta_tokens_are_those_of_biopython(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[tuple[str, str]],
    width: int,
    block: int,
    end: str,
) -> None:
    path = tmp_path_factory.getbasetemp() / "any/any.fasta"
    path.parent.mkdir(exist_ok=True)
    lines = [
        line
        for name, s in records
        for line in (f">x{name}", *(s[i : i + width] for i in range(0, len(s), width)))
    ]
    path.write_bytes("".join(line + end for line in lines).encode())
    with path.open() as file:
        expected = [letters(sequence) for _, sequence in SimpleFastaParser(file)]
    assert expected == [letters(sequence) for _, sequence in records]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fasta, "BLOCK_BYTES", block)
        assert sequences_of(tokenize(path.parent, path)) == pieces(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (">a\nmkv\n", ["MKV?"]),  # lower case
        (">a\nMKV*\n>b\nAC\n", ["AC?", "MKV?"]),  # a stop at the end
        ("\ufeff\n>a\nMK V\n\n", ["MKV?"]),  # byte order mark, blanks, empty lines
    ],
)
def test_fasta_harmless_deviations_are_repaired(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    (tmp_path / "x.fasta").write_text(text)
    assert sequences_of(tokenize(tmp_path, tmp_path / "x.fasta")) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (">a\nMKV\n>b\nAC1\n", r"record 2 in line 3 of .*x\.fasta \('b': illegal character"),
        (">a\nMKV\n>b\n>c\nAC\n", r"record 2 in line 3 of .*x\.fasta \('b': no sequence"),
        (">a\nMKV\n>b\n", r"record 2 in line 3 of .*x\.fasta \('b': no sequence"),
        (">a\nMKV\n>b\n  \n>c\nAC\n", r"record 2 in line 3 of .*x\.fasta \('b': no sequence"),
        (">a\nMKV>b\nAC\n", r"record 1 in line 1 of .*x\.fasta \('a': illegal character"),
        (">a\nMK\0V\n", r"record 1 in line 1 of .*x\.fasta \('a': illegal character"),
        (">a\nMK*V\n", r"record 1 in line 1 of .*x\.fasta \('a': star inside"),
        ("MKV\n>a\nMKV\n", "not FASTA"),
        ("<html>\n", "not FASTA"),
        ("", "is empty"),
    ],
)
def test_fasta_that_is_no_protein_is_named_and_leaves_nothing(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "x.fasta").write_text(text)
    with pytest.raises((TokenError, SourceError), match=message):
        tokenize(tmp_path, tmp_path / "x.fasta")
    left = ["tokens.rejected.tsv"] if "record" in message else []
    assert sorted(path.name for path in tmp_path.iterdir()) == [*left, "x.fasta"]


def test_fasta_bad_records_can_be_skipped_in_folders_and_standard_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.faa").write_text(">a\nMKV\n>b\nM-K--\n")
    (folder / "b.fa.gz").write_bytes(gzip.compress(b">c\n> d x\nACD"))
    (folder / "notes.txt").write_text("none")
    (folder / "._a.faa").write_bytes(b"\0\5\x16\7")  # macOS writes such a file beside each one
    (tmp_path / "stdin").write_text("# a comment\n>e\nGG\n")
    out = tmp_path / "own"
    words = "tokenize", str(folder), "-", "--out", str(out), "--source", "mine"
    with (tmp_path / "stdin").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        run_data(*words, "--context-length", "64", "--skip-bad")
    listed = tmp_path / "own.rejected.tsv"
    assert f"(2 of 5 records skipped, listed in {listed})" in capsys.readouterr().out
    rows = [line.split("\t") for line in listed.read_text().splitlines()[1:]]
    assert rows[0] == ["2", "3", "b", "5", "illegal_character", "-", "3", str(folder / "a.faa")]
    assert rows[1] == ["3", "1", "c", "0", "no_sequence", "", "0", str(folder / "b.fa.gz")]
    assert sequences_of(out / "manifest.json") == ["ACD?", "GG?", "MKV?"]
    with pytest.raises(SourceError, match=r"2 of 4 records .*--skip-bad"):
        tokenize(tmp_path, folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"empty holds no file whose name ends in \.fasta"):
        tokenize(tmp_path, tmp_path / "empty")


def test_fasta_truncated_gzip_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(TEXT.encode())
    (tmp_path / "x.fasta.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"x\.fasta\.gz is truncated"):
        tokenize(tmp_path, tmp_path / "x.fasta.gz")
    assert not (tmp_path / "tokens").exists()


def run_data(*words: str) -> None:
    call, asked = parse(data_cli.app, words)
    call(*asked.args, **asked.kwargs)


def test_command_makes_a_corpus_and_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.fasta").write_text(">a\nMKVMKV\n>b\nACD\n")
    out = tmp_path / "own"
    words = "tokenize", str(tmp_path / "x.fasta"), "--out", str(out), "--context-length", "16"
    run_data(*words)
    assert str(out / "manifest.json") in capsys.readouterr().out
    run_data("inspect", str(out), "--sequences", "1", "--verify")
    shown = capsys.readouterr().out
    assert "all checksums match" in shown
    assert "corpus 'own'" in shown
    assert "train    fasta" in shown
    assert "M 12.50 %" in shown  # 2 of 16 tokens
    assert "31.25 % padding" in shown  # 5 of 16
    assert "  MKVMKV\n" in shown + "\n"
    assert "ACD" not in shown  # only one sequence was asked for
    run_data("inspect", str(out), "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["corpus"], told["context_length"], told["shards"]) == ("own", 16, 1)
    (entry,) = told["entries"]
    assert (entry["split"], entry["sequences"], entry["tokens"]) == ("train", 2, 11)
    (shard,) = out.glob("**/*.arrow")
    run_data("inspect", str(shard), "--json")
    assert json.loads(capsys.readouterr().out)["rows"] == 1
    run_data(*words[:2], "--out", str(tmp_path / "new"), *words[4:], "--json")
    assert json.loads(capsys.readouterr().out)["manifest"] == str(tmp_path / "new/manifest.json")
    with pytest.raises(SystemExit):  # it replaces no folder
        run_data(*words)
    assert 'own" for --out. it exists; remove it' in capsys.readouterr().err
    with pytest.raises(TokenError, match="own exists; remove it"):
        fasta.tokenize_fasta([tmp_path / "x.fasta"], [], "a", "own", 16, 8, out)


def test_inspect_shows_shards_parts_and_corpora_alike(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path)
    part = manifest.parent / "protein" / "part-0000"
    shard = part / "train-a-kept-00000.arrow"
    assert "300 1" not in inspect_tokens(shard)
    assert "100 rows of 64 tokens" in inspect_tokens(shard)
    assert "valid    b" in inspect_tokens(part)
    for path in (manifest, manifest.parent):
        assert "       300 " in inspect_tokens(path)  # sequences of a source
    bars = [line for line in inspect_tokens(manifest).splitlines() if "█" in line]
    assert len(bars) > 2


def test_inspect_names_what_is_wrong(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path)
    shard = manifest.parent / "protein" / "part-0000" / "train-a-kept-00000.arrow"
    content = bytearray(shard.read_bytes())
    content[600] ^= 1
    shard.write_bytes(content)
    inspect_tokens(manifest)
    for path in (manifest, shard.parent):
        with pytest.raises(TokenError, match=r"00000\.arrow is damaged"):
            inspect_tokens(path, verify=True)
    shard.write_bytes(content[:-1])
    with pytest.raises(TokenError, match=r"00000\.arrow has \d+ bytes"):
        inspect_tokens(manifest)
    with pytest.raises(TokenError, match="holds neither"):
        inspect_tokens(tmp_path)
    with pytest.raises(TokenError, match="does not exist"):
        inspect_tokens(tmp_path / "none.arrow")
    (tmp_path / "part.json").write_text("{}")
    with pytest.raises(TokenError, match=r"part\.json is no part"):
        inspect_tokens(tmp_path)


def test_same_file_is_not_trained_on_and_held_out(tmp_path: Path) -> None:
    (tmp_path / "x.fasta").write_text(TEXT)
    (tmp_path / "link.fasta").symlink_to("x.fasta")
    for held_out in ("x.fasta", "link.fasta"):
        with pytest.raises(TokenError, match=r"fasta is given both to train on and to hold out"):
            tokenize(tmp_path, tmp_path / "x.fasta", valid=[tmp_path / held_out])
    assert not (tmp_path / "tokens").exists()
