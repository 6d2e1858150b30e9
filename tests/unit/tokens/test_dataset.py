import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Corpus
from hypothesis import given
from hypothesis import strategies as st

from plm_scaling.errors import TokenError
from plm_scaling.files import sha256_of
from plm_scaling.tokens.dataset import TokenCorpus, apportion
from plm_scaling.tokens.packing import segment_bounds
from plm_scaling.tokens.permutation import permute
from plm_scaling.tokens.tokenize import tokenize_corpus
from plm_scaling.tokens.vocabulary import EOD, PAD, RESIDUES

MIXTURE = {"one": 0.5, "two": 0.5}


@pytest.fixture
def tokens(corpus: Corpus, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(corpus.folder / "tokens", tmp_path / "tokens")
    return tmp_path / "tokens" / "manifest.json"


def segments_of(rows: np.ndarray) -> list[str]:
    flat = rows.reshape(-1)
    return [
        "".join("." if t == EOD else RESIDUES[t - 1] for t in flat[start : start + length])
        for start, length in zip(*segment_bounds(rows), strict=True)
    ]


def test_tokens_every_kept_sequence_is_in_the_shards_once(corpus: Corpus) -> None:
    kept = pd.read_parquet(corpus.folder / "filter" / "kept.parquet")
    opened = TokenCorpus.open(corpus.folder / "tokens" / "manifest.json")
    manifest = opened.manifest["splits"]
    rows = opened.train_rows({"one": 1.0}, 0)
    found = segments_of(rows.batch(0, rows.rows_per_epoch))
    expected = []
    for name in kept[(kept.split == "train") & (kept.source == "one")].id:
        ended = corpus.sequences[name].decode() + "."
        expected += [ended[i : i + 64] for i in range(0, len(ended), 64)]
    assert sorted(found) == sorted(expected)
    held_out = opened.valid_rows(manifest["valid"]["rows"], 0)
    text = "".join(segments_of(held_out))
    assert text.count(".") == int((kept.split == "valid").sum())
    for split in ("train", "valid"):
        chosen = kept[kept.split == split]
        assert manifest[split]["sequences"] == len(chosen)
        assert manifest[split]["tokens"] == int(chosen.length.sum()) + len(chosen)


def test_tokens_same_input_and_seed_give_the_same_shards(corpus: Corpus, tmp_path: Path) -> None:
    folder = corpus.folder
    for seed, name in ((1, "again"), (2, "other")):
        tokenize_corpus(
            folder / "filter", folder / "clean.json", "families", 64, 50, seed, tmp_path / name
        )
    first = (folder / "tokens" / "manifest.json").read_text()
    assert (tmp_path / "again" / "manifest.json").read_text() == first
    assert (tmp_path / "other" / "manifest.json").read_text() != first


def test_tokens_shards_hold_at_most_shard_rows(corpus: Corpus) -> None:
    manifest = json.loads((corpus.folder / "tokens" / "manifest.json").read_text())
    shards = manifest["splits"]["train"]["sources"]["one"]["shards"]
    assert len(shards) > 1
    assert {shard["rows"] for shard in shards[:-1]} == {50}
    assert 0 < shards[-1]["rows"] <= 50
    for shard in shards:
        assert sha256_of(corpus.folder / "tokens" / shard["path"]) == shard["sha256"]


def test_tokens_contaminated_split_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text('{"clean": false}')
    with pytest.raises(TokenError, match=r"report\.json is no clean"):
        tokenize_corpus(corpus.folder / "filter", report, "x", 64, 100, 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_order_shares_hold_and_no_row_comes_twice(corpus: Corpus) -> None:
    opened = TokenCorpus.open(corpus.folder / "tokens" / "manifest.json")
    available = {
        name: entry["rows"] for name, entry in opened.manifest["splits"]["train"]["sources"].items()
    }
    order = opened.train_rows({"one": 1, "two": 3}, 5)
    assert available["two"] - order.rows_of["two"] in (0, 1)  # the row that the other share lacks
    assert order.rows_of["one"] == pytest.approx(available["two"] / 3, abs=1)
    epoch = order.batch(0, order.rows_per_epoch)
    assert len(np.unique(epoch, axis=0)) == order.rows_per_epoch
    assert order.unique_tokens == np.count_nonzero(epoch != PAD)


def test_order_any_batching_gives_the_same_rows(corpus: Corpus) -> None:
    opened = TokenCorpus.open(corpus.folder / "tokens" / "manifest.json", verify=False)
    order = opened.train_rows(MIXTURE, 5)
    n = 2 * order.rows_per_epoch + 17
    whole = order.batch(0, n)
    resumed = opened.train_rows(MIXTURE, 5)
    pieces = [resumed.batch(i, min(13, n - i)) for i in range(0, n, 13)]
    assert np.array_equal(np.concatenate(pieces), whole)


def test_order_epochs_hold_the_same_rows_in_another_order(corpus: Corpus) -> None:
    order = TokenCorpus.open(corpus.folder / "tokens" / "manifest.json").train_rows(MIXTURE, 5)
    n = order.rows_per_epoch
    first, second = order.batch(0, n), order.batch(n, n)
    assert not np.array_equal(first, second)
    assert sorted(map(bytes, first)) == sorted(map(bytes, second))


def test_order_another_seed_gives_another_order(corpus: Corpus) -> None:
    opened = TokenCorpus.open(corpus.folder / "tokens" / "manifest.json")
    batches = [opened.train_rows(MIXTURE, seed).batch(0, 50) for seed in (1, 2)]
    assert not np.array_equal(*batches)


def test_valid_rows_are_fixed_and_proportional(corpus: Corpus) -> None:
    opened = TokenCorpus.open(corpus.folder / "tokens" / "manifest.json")
    rows = opened.valid_rows(20, 3)
    assert rows.shape == (20, 64)
    assert np.array_equal(rows, opened.valid_rows(20, 3))
    assert not np.array_equal(rows, opened.valid_rows(20, 4))
    assert len(np.unique(rows, axis=0)) == 20
    with pytest.raises(TokenError, match="100000 held-out rows are asked for"):
        opened.valid_rows(100_000, 3)


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ({"three": 1.0}, "'three'.*has one, two"),
        ({"one": -1.0, "two": 2.0}, "negative"),
        ({"one": 0.0}, "no source a share"),
        ({"one": 1.0, "two": 1e-9}, "so small"),
    ],
)
def test_order_impossible_mixture_is_refused(corpus: Corpus, mixture: dict, message: str) -> None:
    opened = TokenCorpus.open(corpus.folder / "tokens" / "manifest.json")
    with pytest.raises(TokenError, match=message):
        opened.train_rows(mixture, 1)


def damage(manifest: Path) -> Path:
    shard = manifest.parent / "train" / "shard-one-00000.arrow"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    return shard


def test_open_flipped_bit_is_found_by_checksum(tokens: Path) -> None:
    shard = damage(tokens)
    with pytest.raises(TokenError, match=f"{shard.name} is damaged"):
        TokenCorpus.open(tokens)


def test_open_truncated_shard_is_found_without_reading_it(tokens: Path) -> None:
    shard = tokens.parent / "train" / "shard-one-00000.arrow"
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(TokenError, match=rf"{shard.name} has \d+ bytes"):
        TokenCorpus.open(tokens, verify=False)


def test_open_garbage_of_the_right_size_is_no_shard(tokens: Path) -> None:
    shard = tokens.parent / "train" / "shard-one-00000.arrow"
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(TokenError, match=f"{shard.name} is no readable"):
        TokenCorpus.open(tokens, verify=False)


def test_open_missing_shard_is_named(tokens: Path) -> None:
    shard = tokens.parent / "valid" / "shard-two-00000.arrow"
    shard.unlink()
    with pytest.raises(TokenError, match=f"{shard.name} is missing"):
        TokenCorpus.open(tokens)


@pytest.mark.parametrize("what", ["format", "vocabulary_sha256"])
def test_open_another_version_is_refused(tokens: Path, what: str) -> None:
    manifest = json.loads(tokens.read_text())
    tokens.write_text(json.dumps({**manifest, what: "other"}))
    with pytest.raises(TokenError, match=f"{what} is 'other'"):
        TokenCorpus.open(tokens)


def test_open_another_context_length_is_refused(tokens: Path) -> None:
    manifest = json.loads(tokens.read_text())
    tokens.write_text(json.dumps({**manifest, "context_length": 32}))
    with pytest.raises(TokenError, match="context_length is 64, expected 32"):
        TokenCorpus.open(tokens)


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_open_broken_manifest_is_refused(tokens: Path, content: str) -> None:
    tokens.write_text(content)
    with pytest.raises(TokenError, match=r"manifest\.json is no manifest"):
        TokenCorpus.open(tokens)


def test_open_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match=r"manifest\.json does not exist"):
        TokenCorpus.open(tmp_path / "manifest.json")


@given(n=st.integers(1, 3000), key=st.integers(0, 2**32))
def test_permutation_every_index_has_its_own_image(n: int, key: int) -> None:
    image = permute(np.arange(n), n, key)
    assert np.array_equal(np.sort(image), np.arange(n))


def test_permutation_looks_random() -> None:
    n = 4096
    images = np.stack([permute(np.arange(n), n, key) for key in range(200)])
    assert abs(np.corrcoef(np.arange(n), images[0])[0, 1]) < 0.06
    # Each place receives each index equally often: the mean of 200 draws from 0 … n − 1.
    deviation = (images.mean(axis=0) - (n - 1) / 2) / (n / np.sqrt(12 * 200))
    assert 0.9 < deviation.std() < 1.1


@given(n=st.integers(0, 10_000), weights=st.lists(st.integers(1, 100), min_size=1, max_size=6))
def test_apportion_any_shares_sum_and_lie_within_one(n: int, weights: list[int]) -> None:
    shares = {str(i): weight / sum(weights) for i, weight in enumerate(weights)}
    counts = apportion(n, shares)
    assert sum(counts.values()) == n
    assert all(abs(counts[name] - n * share) < 1 for name, share in shares.items())
