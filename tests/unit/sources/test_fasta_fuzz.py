"""Mutated FASTA files: every residue is kept, listed as rejected or counted as fixed, by each
reader alike; where nothing is rejected the records are Biopython's."""

import io
import lzma
import random
import re
from gzip import compress
from pathlib import Path

import pytest
from backports import zstd
from Bio.SeqIO.FastaIO import SimpleFastaParser
from fasta_tokens import pieces, sequences_of
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_scaling.common.errors import SourceError
from plm_scaling.inference.fasta import read_chunks
from plm_scaling.sources.read.fasta import RESIDUES, read_fasta
from plm_scaling.sources.read.inputs import Survey
from plm_scaling.sources.read.records import Records
from plm_scaling.tokens.format.vocabulary import decode, encode
from plm_scaling.tokens.write import fasta as tokens

LETTERS = RESIDUES.decode()
ODD = "\r|\r\n|\r\r\n|>|>b|> c|>\td|*|-|.| |\t|\0|\1|;|#|;x\n|#>y\n|\ufeff|Ä|\x0b|1|\n>|>\n|acd"
PIECES = [piece.encode() for piece in ODD.split("|")] + [b"\n", b"\n\n", b"\xff", b"|", b"sp|P1|X"]
ENDS = [b"\n", b"\r\n", b"\r", b"\r\r\n"]


def sound_file(draw: random.Random) -> bytes:
    lines = []
    for number in range(draw.randrange(1, 12)):
        lines.append(f">p{number}{draw.choice(['', ' of > yeast', ' x*-', '|y z'])}".encode())
        text = "".join(draw.choices(LETTERS, k=draw.randrange(1, 90))).encode()
        width = draw.randrange(1, 90)
        lines += [text[i : i + width] for i in range(0, len(text), width)]
    return draw.choice(ENDS).join(lines) + draw.choice([b"", b"\n"])


def mutated(draw: random.Random) -> bytes:
    text = sound_file(draw)
    for _ in range(draw.choice([0, 1, 1, 2, 4, 9])):
        at = draw.randrange(len(text) + 1)
        match draw.randrange(5):
            case 0 | 1:
                text = text[:at] + draw.choice(PIECES) + text[at:]
            case 2:
                text = text[:at] + text[at + draw.randrange(1, 9) :]
            case 3:
                text = text[:at] + bytes([draw.randrange(256)]) + text[at + 1 :]
            case _:
                text = text[:at] + sound_file(draw) + text[at:]
    return text or b">"


def letters_of(text: bytes) -> int:
    """What stands below headers, but for blanks, line ends and comments on top."""
    lines = re.split(rb"\r\n|\r|\n", text.removeprefix(b"\xef\xbb\xbf"))
    top = next((i for i, line in enumerate(lines) if line.startswith(b">")), len(lines))
    return sum(
        len(line.translate(None, b" \t")) for line in lines[top:] if not line.startswith(b">")
    )


def flat(batches: list[Records]) -> list[tuple[str, str]]:
    return [
        (name.decode(), sequence.decode())
        for batch in batches
        for name, sequence in zip(batch.ids, batch.sequences, strict=True)
    ]


def check(folder: Path, text: bytes, chunk_bytes: int, suffix: str = "") -> str:
    """What became of it: `no FASTA`, `rejected` or `sound`."""
    path = folder / f"a.fasta{suffix}"
    match suffix:
        case ".gz":
            path.write_bytes(compress(text[:99], 1) + compress(text[99:], 1) + b"\0" * 9)
        case ".zst":
            path.write_bytes(b"\x5a\x2a\x4d\x18\0\0\0\0" + zstd.compress(text))
        case ".xz":
            path.write_bytes(lzma.compress(text, preset=0) + bytes(4))
        case _:
            path.write_bytes(text)
    out = folder / "tokens"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "BLOCK_BYTES", chunk_bytes)

        def tokenized(skip_bad: bool = True) -> list[str]:
            tokens.tokenize_fasta([path], [], "mine", "own", 64, 99, out, skip_bad=skip_bad)
            found = sequences_of(out / "manifest.json")
            for file in sorted(out.rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
            out.rmdir()
            return found

        try:
            batches = list(read_fasta(path, chunk_bytes=chunk_bytes))
        except SourceError as error:
            with pytest.raises(SourceError, match=re.escape(str(error)[:90])):
                tokenized()
            return "no FASTA"
        rejected = [one for batch in batches for one in batch.rejected]
        kept = flat(batches)
        stars = sum(batch.handled.get("trailing_star", (0, 0))[0] for batch in batches)
        accounted = sum(len(sequence) for _, sequence in kept) + stars
        assert letters_of(text) == accounted + sum(one.residues for one in rejected)
        lines = re.split(rb"\r\n|\r|\n", text.removeprefix(b"\xef\xbb\xbf"))
        assert all(lines[one.line - 1].startswith(b">") for one in rejected)
        assert all(one.times for one in rejected if one.character)
        if rejected:
            with pytest.raises(SourceError, match=f"{len(rejected)} of "):
                tokenized(skip_bad=False)
            assert len(Path(f"{out}.rejected.tsv").read_text().splitlines()) >= 1 + len(rejected)
        if not kept:
            return "rejected"
        assert tokenized() == pieces([decode(encode(f"{s}\n\0".encode())[:-1]) for _, s in kept])
    scored = read_chunks(Survey(out, True).of(read_fasta(path)), 50)
    assert kept == [
        pair
        for chunk in scored
        for pair in zip(chunk.ids, chunk.entries.decode().split("\n\0")[:-1], strict=True)
    ]
    if rejected:
        return "rejected"
    plain = re.sub(rb"\r\n|\r", b"\n", text.removeprefix(b"\xef\xbb\xbf"))
    theirs = [
        (title.split(maxsplit=1)[0].partition("\1")[0], sequence.replace("\t", "").upper())
        for title, sequence in SimpleFastaParser(
            io.StringIO(plain.decode(errors="surrogateescape"))
        )
    ]
    assert kept == [
        (re.sub(r"^(?:sp|tr)\|([^|]+)\|.*", r"\1", name), sequence.removesuffix("*"))
        for name, sequence in theirs
    ]
    return "sound"


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), chunk_bytes=st.sampled_from([1, 3, 16, 1 << 19]))
def test_mutated_files_lose_no_residue_silently(
    tmp_path_factory: pytest.TempPathFactory, seed: int, chunk_bytes: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz_fasta"
    folder.mkdir(exist_ok=True)
    check(folder, mutated(random.Random(seed)), chunk_bytes)


@pytest.mark.long
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".xz"])
def test_many_mutated_files_lose_no_residue_silently(tmp_path: Path, suffix: str) -> None:
    draw = random.Random(f"fuzz{suffix}")
    ends = {"no FASTA": 0, "rejected": 0, "sound": 0}
    for _ in range(600 if suffix else 3000):
        text = mutated(draw)
        try:
            ends[check(tmp_path, text, draw.choice([1, 7, 64, 1 << 19]), suffix)] += 1
        except BaseException:
            print(repr(text))
            raise
    assert min(ends["rejected"], ends["sound"]) > 100
