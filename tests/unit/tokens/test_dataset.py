"""Opening a corpus finds what is wrong with it; reading gives the rows of the shards."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from corpora import valid_rows, write_corpus
from hypothesis import given
from hypothesis import strategies as st

from plm_scaling.common.errors import TokenError
from plm_scaling.tokens.format.shards import open_shard
from plm_scaling.tokens.read.dataset import TokenCorpus, apportion

SHARD = "protein/part-0000/train-a-kept-00000.arrow"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def manifest(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(whole.parent, tmp_path / "tokens")
    return tmp_path / "tokens" / "manifest.json"


def rows_of_shards(manifest: Path, split: str, source: str) -> np.ndarray:
    listed = json.loads(manifest.read_text())["splits"][split]["sources"][source]
    shards = listed["strata"]["kept"]["shards"]
    return np.concatenate([open_shard(manifest.parent / s["path"], 64)[0] for s in shards])


def test_rows_are_those_of_the_shards_in_order(whole: Path) -> None:
    expected = rows_of_shards(whole, "train", "a")
    rows = TokenCorpus.open(whole).rows("train", "a")
    assert len(rows) == len(expected) > 200  # more than two shards
    index = np.random.default_rng(0).integers(0, len(rows), 1000)
    assert np.array_equal(rows.read(index), expected[index])
    assert all(np.array_equal(rows[i], expected[i]) for i in index[:100].tolist())


def test_rows_stay_valid_after_their_corpus_is_closed(whole: Path) -> None:
    row = TokenCorpus.open(whole).rows("train", "b")[5]
    assert np.array_equal(row, rows_of_shards(whole, "train", "b")[5])
    with pytest.raises(ValueError, match="read-only"):
        row[0] = 1


@pytest.mark.parametrize("index", [-1, 10**6])
def test_rows_beyond_the_end_are_refused(whole: Path, index: int) -> None:
    rows = TokenCorpus.open(whole, verify=False).rows("train", "a")
    with pytest.raises(IndexError):
        rows[index]
    with pytest.raises(IndexError):
        rows.read(np.array([0, index]))


def test_valid_rows_are_fixed_and_proportional(whole: Path) -> None:
    opened = TokenCorpus.open(whole)
    n = {source: len(rows_of_shards(whole, "valid", source)) for source in "ab"}
    rows = valid_rows(opened, 20, 3)
    assert rows.shape == (20, 64)
    assert np.array_equal(rows, valid_rows(opened, 20, 3))
    assert not np.array_equal(rows, valid_rows(opened, 20, 4))
    assert len(np.unique(rows, axis=0)) == 20
    own = {row.tobytes() for row in rows_of_shards(whole, "valid", "a")}
    from_a = sum(row.tobytes() in own for row in rows)
    assert from_a == pytest.approx(20 * n["a"] / (n["a"] + n["b"]), abs=1)
    assert len(np.unique(valid_rows(opened, sum(n.values()), 3), axis=0)) == sum(n.values())
    with pytest.raises(TokenError, match="100000 rows of valid are asked for"):
        valid_rows(opened, 100_000, 3)
    with pytest.raises(TokenError, match="has 0"):
        valid_rows(opened, 1, 3, split="ood")


def test_valid_rows_are_proteins_whatever_is_trained_on(manifest: Path) -> None:
    content = json.loads(manifest.read_text())
    content["splits"]["valid"]["sources"]["a"]["kind"] = "code"
    manifest.write_text(json.dumps(content))
    rows = valid_rows(TokenCorpus.open(manifest), 20, 3)
    own = {row.tobytes() for row in rows_of_shards(manifest, "valid", "b")}
    assert all(row.tobytes() in own for row in rows)


def test_open_flipped_bit_is_found_by_checksum(manifest: Path) -> None:
    shard = manifest.parent / SHARD
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(TokenError, match=f"{shard.name} is damaged"):
        TokenCorpus.open(manifest)


def test_open_truncated_shard_is_found_without_reading_it(manifest: Path) -> None:
    shard = manifest.parent / SHARD
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(TokenError, match=rf"{shard.name} has \d+ bytes"):
        TokenCorpus.open(manifest, verify=False)


def test_open_garbage_of_the_right_size_is_refused(manifest: Path) -> None:
    shard = manifest.parent / SHARD
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(TokenError, match=f"{shard.name} is no readable"):
        TokenCorpus.open(manifest, verify=False)


def test_open_missing_shard_is_named(manifest: Path) -> None:
    (manifest.parent / SHARD).unlink()
    with pytest.raises(TokenError, match=r"train-a-kept-00000\.arrow is missing"):
        TokenCorpus.open(manifest)


@pytest.mark.parametrize("what", ["format", "vocabulary_sha256"])
def test_open_another_version_is_refused(manifest: Path, what: str) -> None:
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, what: "other"}))
    with pytest.raises(TokenError, match=f"{what} is 'other'"):
        TokenCorpus.open(manifest)


def test_open_another_context_length_is_refused(manifest: Path) -> None:
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "context_length": 32}))
    with pytest.raises(TokenError, match="context_length is 64, expected 32"):
        TokenCorpus.open(manifest)


def test_open_another_number_of_rows_is_refused(manifest: Path) -> None:
    content = json.loads(manifest.read_text())
    content["splits"]["train"]["sources"]["a"]["strata"]["kept"]["shards"][0]["rows"] += 1
    manifest.write_text(json.dumps(content))
    with pytest.raises(TokenError, match=r"00000.arrow has 100 rows, the manifest says 101"):
        TokenCorpus.open(manifest, verify=False)


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_open_broken_manifest_is_refused(manifest: Path, content: str) -> None:
    manifest.write_text(content)
    with pytest.raises(TokenError, match=r"manifest\.json is no manifest"):
        TokenCorpus.open(manifest)


def test_open_manifest_without_shards_is_refused(manifest: Path) -> None:
    content = json.loads(manifest.read_text())
    del content["splits"]["train"]["sources"]["a"]["strata"]["kept"]["shards"][0]["bytes"]
    manifest.write_text(json.dumps(content))
    with pytest.raises(TokenError, match=r"manifest\.json is no manifest"):
        TokenCorpus.open(manifest)


def test_open_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match=r"manifest\.json does not exist"):
        TokenCorpus.open(tmp_path / "manifest.json")


@given(n=st.integers(0, 10_000), weights=st.lists(st.integers(1, 100), min_size=1, max_size=6))
def test_apportion_any_shares_sum_and_lie_within_one(n: int, weights: list[int]) -> None:
    shares = {str(i): weight / sum(weights) for i, weight in enumerate(weights)}
    counts = apportion(n, shares)
    assert sum(counts.values()) == n
    assert all(abs(counts[name] - n * share) < 1 for name, share in shares.items())
