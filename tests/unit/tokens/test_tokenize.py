"""From a pool and a selection to shards: everything once, whatever the number of parts."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from corpora import random_sequences, write_tokens
from pools import make_pool
from selections import select

from plm_scaling.common.errors import TokenError
from plm_scaling.common.files import sha256_of
from plm_scaling.tokens.format.packing import segment_bounds
from plm_scaling.tokens.format.shards import open_shard
from plm_scaling.tokens.format.vocabulary import EOD, decode
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.tokens.write import groups, tokenize
from plm_scaling.tokens.write.tokenize import tokenize_part

Place = tuple[str, str]
Records = dict[str, list[tuple[str, str]]]


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of 16 records, chunks of 3,000 tokens: a few hundred records make many."""
    monkeypatch.setattr(groups, "GROUP_RECORDS", 16)
    monkeypatch.setattr(tokenize, "CHUNK_TOKENS", 3000)
    monkeypatch.setattr(tokenize, "NEAR_BYTES", 4000)
    monkeypatch.setattr(tokenize, "_GATHERED", 3)


def make_records(n: int = 300) -> Records:
    """Two sources with long and repeated sequences; ids name the split and stratum."""
    rng = random.Random(1)
    sequences = [
        *random_sequences(n, 1),
        *("".join(rng.choices("ACDEF", k=k)) for k in (900, 5000)),
    ]
    places = ["train.kept"] * 8 + ["valid.kept", "train.redundant", "none.dropped"]
    records: Records = {"a": [], "b": []}
    for number, sequence in enumerate(sequences):
        source = rng.choice("ab")
        records[source].append((f"{number}.{rng.choice(places)}", sequence))
    for source in "ab":  # exact copies, within a source and across
        copies = [(f"{name}.copy", s) for name, s in rng.sample(records[source], n // 15)]
        records[source] += [(name.replace(".kept", ".redundant"), s) for name, s in copies]
        records["a"] += [(f"{name}.b", s) for name, s in copies[:5]]
    return records


def place_of(name: str) -> Place | None:
    split, stratum = name.split(".")[1:3]
    return None if split == "none" else (split, stratum)


def tokenise(folder: Path, records: Records, parts: int, **options: int) -> Path:
    pool = make_pool(folder, records, parts)
    select(pool, folder / "filter", place_of)
    return write_tokens(folder, pool, **options)


def all_rows(manifest: Path) -> dict[tuple[str, str, str], np.ndarray]:
    """Rows over all shards in the manifest's order, by split, source and stratum."""
    found = {}
    for split, content in json.loads(manifest.read_text())["splits"].items():
        for source, own in content["sources"].items():
            for stratum, entry in own["strata"].items():
                shards = [open_shard(manifest.parent / s["path"])[0] for s in entry["shards"]]
                found[split, source, stratum] = np.concatenate(shards)
    return found


def pieces_of(rows: np.ndarray) -> list[str]:
    """What lies between ends of sequences and of rows, `?` for an eod."""
    flat = rows.tobytes()
    bounds = zip(*segment_bounds(rows), strict=True)
    return sorted(decode(flat[start : start + length]) for start, length in bounds)


def expected_pieces(sequence: str, row: int, start_token: bool = False) -> list[str]:
    ended = "?" * start_token + sequence + "?"
    return [ended[i : i + row] for i in range(0, len(ended), row)]


@pytest.mark.parametrize("start_token", [False, True])
def test_tokens_hold_every_selected_record_once(
    tmp_path: Path, small_groups: None, start_token: bool
) -> None:
    records = make_records()
    manifest = tokenise(tmp_path, records, parts=2, start_token=start_token)
    assert TokenCorpus.open(manifest).start_token == start_token
    assert ("start_token" in manifest.read_text()) == start_token  # as before without
    found = all_rows(manifest)
    expected: dict[tuple[str, str, str], list[str]] = {}
    for source, own in records.items():
        for name, sequence in own:
            if place := place_of(name):
                key = (place[0], source, place[1])
                expected.setdefault(key, []).extend(expected_pieces(sequence, 64, start_token))
    assert {key: pieces_of(rows) for key, rows in found.items()} == {
        key: sorted(pieces) for key, pieces in expected.items()
    }


def test_tokens_do_not_depend_on_the_number_of_parts(tmp_path: Path, small_groups: None) -> None:
    records = make_records()
    whole = all_rows(tokenise(tmp_path / "1", records, parts=1))
    assert len(whole[("train", "a", "kept")]) > 3
    for parts in (2, 4, 8, 64):
        rows = all_rows(tokenise(tmp_path / str(parts), records, parts))
        assert rows.keys() == whole.keys()
        for key in whole:
            assert np.array_equal(rows[key], whole[key])


def test_tokens_do_not_depend_on_the_order_of_the_input(tmp_path: Path, small_groups: None) -> None:
    records = make_records()
    first = tokenise(tmp_path / "first", records, parts=2).read_text()
    for own in records.values():
        random.Random(5).shuffle(own)
    assert tokenise(tmp_path / "second", records, parts=2).read_text() == first


def test_tokens_counts_are_those_of_the_rows(tmp_path: Path, small_groups: None) -> None:
    manifest = tokenise(tmp_path, make_records(), parts=2, shard_rows=7)
    splits = json.loads(manifest.read_text())["splits"]
    for content in splits.values():
        for source in content["sources"].values():
            for entry in source["strata"].values():
                for shard in entry["shards"]:
                    path = manifest.parent / shard["path"]
                    rows, facts = open_shard(path, 64)
                    assert len(rows) == shard["rows"] <= 7
                    assert np.count_nonzero(rows) == shard["tokens"]
                    assert np.count_nonzero(rows == EOD) == shard["sequences"]
                    assert rows.size - shard["tokens"] == shard["padding_tokens"]
                    assert sha256_of(path) == shard["sha256"]
                    assert path.stat().st_size == shard["bytes"]
                    assert facts["kind"] == "protein"
                for what in ("rows", "tokens", "sequences", "padding_tokens"):
                    assert entry[what] == sum(shard[what] for shard in entry["shards"])
        assert content["rows"] == sum(s["rows"] for s in content["sources"].values())


def test_tokens_of_code_keep_every_character(tmp_path: Path) -> None:
    text = "def F(x):\n\treturn x + 1  # AB\n"
    pool = make_pool(tmp_path, {"c": [("one", text.replace("\n", "\r"))]}, parts=1, kind="code")
    select(pool, tmp_path / "filter", lambda _: ("train", "kept"))
    manifest = write_tokens(tmp_path, pool)
    assert json.loads(manifest.read_text())["splits"]["train"]["sources"]["c"]["kind"] == "code"
    (rows,) = all_rows(manifest).values()
    assert decode(rows.tobytes()).rstrip("?") == text


def test_tokens_of_an_odd_context_length(tmp_path: Path) -> None:
    records = make_records(30)
    found = all_rows(tokenise(tmp_path, records, parts=1, context_length=37))
    kept = [s for name, s in records["b"] if place_of(name) == ("train", "kept")]
    expected = sorted(piece for s in kept for piece in expected_pieces(s, 37))
    assert pieces_of(found["train", "b", "kept"]) == expected


def _change_totals(folder: Path) -> None:
    rows = json.loads((folder / "totals.json").read_text())
    rows[0]["records"] += 1
    (folder / "totals.json").write_text(json.dumps(rows))


def _rename_stratum(folder: Path) -> None:
    text = (folder / "totals.json").read_text()
    (folder / "totals.json").write_text(text.replace("kept", "other"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "totals.json").unlink(), r"totals\.json does not exist"),
        (lambda f: (f / "totals.json").write_text("[1]"), r"totals\.json is no table"),
        (lambda f: (f / "part-0001.parquet").unlink(), r"part-0001\.parquet is missing"),
        (lambda f: (f / "part-0001.parquet").write_text("x"), r"part-0001\.parquet is no readable"),
        (lambda f: (f / "part-0001.parquet").replace(f / "part-0000.parquet"), "is missing"),
        (_change_totals, r"counts [\d,]+ records, the parts beside it hold"),
        (_rename_stratum, "totals.json beside it does not name"),
    ],
)  # fmt: skip
def test_tokens_selection_that_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    pool = make_pool(tmp_path, make_records(30), parts=2)
    select(pool, tmp_path / "filter", place_of)
    change(tmp_path / "filter")
    with pytest.raises(TokenError, match=message):
        tokenize_part(pool.folder, tmp_path / "filter", 0, "x", 64, 100, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tokens_selection_of_another_pool_is_refused(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, make_records(30), parts=2)
    select(pool, tmp_path / "filter", place_of)
    first, second = (tmp_path / "filter" / f"part-000{i}.parquet" for i in (0, 1))
    content = first.read_bytes()
    second.replace(first)
    second.write_bytes(content)
    with pytest.raises(TokenError, match=r"part-0000\.parquet does not belong to"):
        tokenize_part(pool.folder, tmp_path / "filter", 0, "x", 64, 100, tmp_path / "out")


def test_tokens_truncated_pool_is_refused(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, make_records(30), parts=1)
    select(pool, tmp_path / "filter", place_of)
    data = pool.parts[0].database
    data.write_bytes(data.read_bytes()[:-5])
    with pytest.raises(TokenError, match=r"sequences has \d+ bytes, its part.json counts"):
        tokenize_part(pool.folder, tmp_path / "filter", 0, "x", 64, 100, tmp_path / "out")


@pytest.mark.parametrize(
    ("context_length", "shard_rows", "part"), [(1, 1, 0), (64, 0, 0), (64, 1, 2)]
)
def test_tokens_impossible_numbers_are_refused(
    tmp_path: Path, context_length: int, shard_rows: int, part: int
) -> None:
    pool = make_pool(tmp_path, make_records(30), parts=2)
    with pytest.raises(TokenError, match=r"a row, and 1 row or more|parts 0 to 1, not 2"):
        tokenize_part(
            pool.folder, tmp_path / "f", part, "x", context_length, shard_rows, tmp_path / "out"
        )


# ru_maxrss would be that of the process that started this one, where that is larger.
MEASURE = """
import re, sys
from pathlib import Path
from plm_scaling.common import rows
from plm_scaling.tokens.write import groups
from plm_scaling.tokens.write.tokenize import tokenize_part
rows.ROWS_PER_GROUP, groups.GROUP_RECORDS = 1 << 14, 1 << 12
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
folder = Path(sys.argv[1])
before = peak()
tokenize_part(folder / "pool/protein", folder / "filter", 0, "x", 512, 10**6, folder / "out")
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads Linux's /proc")
def test_tokens_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    """Seven times the data in the same memory, with small groups; imports are not counted."""
    added = []
    for n in (50_000, 350_000):
        rng = np.random.default_rng(2)
        letters = rng.choice(np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8), 150 * n).tobytes()
        records = [(str(i), letters[150 * i : 150 * i + 150].decode()) for i in range(n)]
        pool = make_pool(tmp_path / str(n), {"a": records}, parts=1)
        select(pool, tmp_path / str(n) / "filter", lambda _: ("train", "kept"))
        command = [sys.executable, "-c", MEASURE, str(tmp_path / str(n))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        added.append(int(done.stdout) / 1024)
    # MiB; the data grow by 43. What the allocators keep differs by some 15 from run to run.
    assert added[1] < added[0] + 30
