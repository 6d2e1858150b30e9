"""The order of training rows: exact shares, whole epochs, and nothing but seed and row number."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cell_fixtures import cell_of
from corpora import random_sequences, write_corpus, write_tokens
from hypothesis import example, given
from hypothesis import strategies as st
from pools import make_pool
from selections import select

from plm_scaling.common.errors import TokenError
from plm_scaling.study.shapes import Shape
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.tokens.read.interleave import Interleaving
from plm_scaling.tokens.read.permutation import permute

STUDY = [8.5, 19.5, 19.5, 52.5]
MIXTURE = {"a": 0.3, "b": 0.7}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TokenCorpus:
    return TokenCorpus.open(write_corpus(tmp_path_factory.mktemp("corpus")))


def sources_in_order(shares: list[float], n: int) -> np.ndarray:
    order = np.full(n, -1)
    for number, (places, rows) in enumerate(Interleaving(shares).sources(np.arange(n))):
        order[places] = number
        assert np.array_equal(rows, np.arange(len(places)))  # each source's rows one by one
    return order


def excess(shares: list[float], n: int) -> float:
    """How far any of the first n prefixes is from the exact share of any source, in rows."""
    order = sources_in_order(shares, n)
    counts = np.cumsum(order[:, None] == np.arange(len(shares)), axis=0)
    exact = np.arange(1, n + 1)[:, None] * np.array(shares) / sum(shares)
    return float(np.abs(counts - exact).max())


def test_interleave_the_mix_of_the_study_is_exact() -> None:
    assert excess(STUDY, 5000) < 1
    order = sources_in_order(STUDY, 2000)
    assert (np.bincount(order) == [170, 390, 390, 1050]).all()


@given(shares=st.lists(st.integers(1, 1000), min_size=1, max_size=8), n=st.integers(1, 500))
@example(shares=[4, 21, 44, 47], n=11)
def test_interleave_every_prefix_is_within_the_documented_bound(shares: list[int], n: int) -> None:
    promised = {1: 0, 2: 1 / 2, 3: 1, 4: 5 / 4}.get(len(shares), 2)
    assert excess(list(map(float, shares)), n) <= promised + 1e-9


@given(
    shares=st.lists(st.floats(1e-6, 1), min_size=1, max_size=6),
    first=st.integers(0, 2**32 - 50),
    n=st.integers(1, 50),
)
def test_interleave_any_stretch_agrees_with_the_counts(
    shares: list[float], first: int, n: int
) -> None:
    mix = Interleaving(shares)
    found = mix.sources(np.arange(first, first + n))
    before, after = mix.counts(first), mix.counts(first + n)
    assert sum(before) == first
    for (_, rows), a, b in zip(found, before, after, strict=True):
        assert rows.tolist() == list(range(a, b))
    exact = np.array(shares) / sum(shares) * first
    assert np.abs(np.array(before) - exact).max() < 2 + first * 6 / 2**31  # shares are rounded


def test_order_any_batching_gives_the_same_rows(corpus: TokenCorpus) -> None:
    n = 1200  # more than two epochs of b
    whole = corpus.train_rows(MIXTURE, seed=5).batch(0, n)
    resumed = corpus.train_rows(MIXTURE, seed=5)
    pieces = [resumed.batch(i, min(13, n - i)) for i in range(0, n, 13)]
    assert np.array_equal(np.concatenate(pieces), whole)
    backwards = dict(reversed(MIXTURE.items()))
    assert np.array_equal(corpus.train_rows(backwards, seed=5).batch(0, n), whole)


def test_order_each_source_goes_through_its_own_epochs(corpus: TokenCorpus) -> None:
    order = corpus.train_rows(MIXTURE, seed=5)
    n = 3000
    rows = order.batch(0, n)
    for source in "ab":
        own = corpus.rows("train", source)
        known = {own[i].tobytes() for i in range(len(own))}
        assert len(known) == len(own)
        read = [row.tobytes() for row in rows if row.tobytes() in known]
        assert len(read) == order.rows_of(n)[source]
        assert order.unique_rows[source] == len(own)
        epochs = [read[i : i + len(own)] for i in range(0, len(read) - len(own), len(own))]
        assert len(epochs) >= 2
        assert all(set(epoch) == known for epoch in epochs)
        assert epochs[0] != epochs[1]


def test_order_another_seed_gives_another_order(corpus: TokenCorpus) -> None:
    batches = [corpus.train_rows(MIXTURE, seed=seed).batch(0, 50) for seed in (1, 2)]
    assert not np.array_equal(*batches)


def test_order_a_budget_limits_rows_and_a_smaller_one_is_part_of_it(corpus: TokenCorpus) -> None:
    distinct = []
    for budget in (4000, 8000, None):
        order = corpus.train_rows({"a": 1.0}, unique_tokens=budget, seed=1)
        rows = order.batch(0, 5 * order.unique_rows["a"])
        distinct.append({row.tobytes() for row in rows})
        assert len(distinct[-1]) == order.unique_rows["a"]
        epochs = np.split(rows, 5)  # each the same rows in another order
        assert len({epoch.tobytes() for epoch in epochs}) == 5
        if budget:
            tokens = sum(np.count_nonzero(np.frombuffer(row, np.uint8)) for row in distinct[-1])
            assert 60 * order.unique_rows["a"] == pytest.approx(budget, rel=0.1)
            assert tokens == pytest.approx(budget, rel=0.05)
    assert distinct[0] < distinct[1] < distinct[2]


def test_order_a_budget_is_divided_by_share_or_given_by_source(corpus: TokenCorpus) -> None:
    divided = corpus.train_rows(MIXTURE, unique_tokens=10_000, seed=1).unique_rows
    given_ = corpus.train_rows(MIXTURE, unique_tokens={"a": 3000, "b": 7000}, seed=1).unique_rows
    assert divided == given_
    assert divided["a"] / divided["b"] == pytest.approx(3 / 7, rel=0.05)
    only_a = corpus.train_rows(MIXTURE, unique_tokens={"a": 3000}, seed=1).unique_rows
    assert only_a == {"a": divided["a"], "b": len(corpus.rows("train", "b"))}


def test_order_rows_of_a_budget_do_not_depend_on_the_mixture(corpus: TokenCorpus) -> None:
    single = corpus.train_rows({"a": 1.0}, unique_tokens={"a": 3000}, seed=1)
    mixed = corpus.train_rows(MIXTURE, unique_tokens={"a": 3000}, seed=1)
    first = {row.tobytes() for row in single.batch(0, 200)}
    assert len(first - {row.tobytes() for row in mixed.batch(0, 2000)}) == 0


def test_order_a_cell_goes_through_a_limited_source_no_oftener_than_its_plan_says(
    corpus: TokenCorpus,
) -> None:
    limit = {"a": 3000.0}
    cell = cell_of(
        "clm", Shape(1, 8, 8, 1), mixture=MIXTURE, unique_tokens_limit=limit, tokens=64 * 1000
    )
    order = corpus.train_rows(MIXTURE, unique_tokens=limit, seed=1)
    epochs = order.rows_of(1000)["a"] / order.unique_rows["a"]
    assert cell.epochs is not None
    assert 0.85 * cell.epochs < epochs < cell.epochs  # padding is the difference


def test_order_unique_tokens_grow_until_all_are_seen(corpus: TokenCorpus) -> None:
    order = corpus.train_rows(MIXTURE, unique_tokens=10_000, seed=1)
    seen = [order.unique_tokens_seen(n) for n in range(0, 1000, 10)]
    assert seen[0] == 0
    assert all(a <= b for a, b in pairwise(seen))
    assert seen[-1] == 64 * sum(order.unique_rows.values())
    whole = corpus.train_rows(MIXTURE, seed=1)
    rows = [len(corpus.rows("train", source)) for source in "ab"]
    assert whole.unique_tokens_seen(10**6) == 64 * sum(rows)
    assert whole.unique_tokens_seen(10) == 64 * 10


@pytest.mark.parametrize(
    ("mixture", "budget", "message"),
    [
        ({"three": 1.0}, None, "'three'.*has a, b"),
        ({"a": 1.0, "b": 1e-9}, None, "so small"),
        ({"a": 1.0}, 10**9, r"1,000,000,000 unique tokens of source 'a' are asked for, it has 18"),
        (MIXTURE, {"b": 10**9}, "source 'b' are asked for"),
        ({"a": 1.0}, 0, "0 unique tokens"),
    ],
)
def test_order_impossible_requests_are_refused(
    corpus: TokenCorpus, mixture: dict, budget: float | dict | None, message: str
) -> None:
    with pytest.raises(TokenError, match=message):
        corpus.train_rows(mixture, unique_tokens=budget, seed=1)


def test_order_strata_are_views_of_one_corpus(tmp_path: Path) -> None:
    strata = ["kept", "redundant", "filtered"]
    texts = random_sequences(300, 1)
    records = {"a": [(f"{strata[i % 3]}.{i}", text) for i, text in enumerate(texts)]}
    pool = make_pool(tmp_path, records)
    select(pool, tmp_path / "filter", lambda name: ("train", name.split(".")[0]))
    opened = TokenCorpus.open(write_tokens(tmp_path, pool))
    counts = {s: len(opened.rows("train", "a", [s])) for s in strata}
    for chosen in (["kept"], ["kept", "redundant"], [*strata, "redundant_filtered"]):
        order = opened.train_rows({"a": 1.0}, chosen, seed=1)
        assert order.unique_rows["a"] == sum(counts.get(s, 0) for s in chosen)
        rows = order.batch(0, order.unique_rows["a"])
        assert len(np.unique(rows, axis=0)) == order.unique_rows["a"]
    with pytest.raises(TokenError, match=r"no source of the mixture has .* 'other'"):
        opened.train_rows({"a": 1.0}, ["kept", "other"], seed=1)


@given(n=st.integers(1, 3000), key=st.integers(0, 2**32))
def test_permutation_is_a_bijection(n: int, key: int) -> None:
    image = permute(np.arange(n), n, key)
    assert np.array_equal(np.sort(image), np.arange(n))


def test_permutation_looks_random() -> None:
    n = 4096
    images = np.stack([permute(np.arange(n), n, key) for key in range(200)])
    assert abs(np.corrcoef(np.arange(n), images[0])[0, 1]) < 0.06
    # Each place receives each index equally often: the mean of 200 draws from 0 … n − 1.
    deviation = (images.mean(axis=0) - (n - 1) / 2) / (n / np.sqrt(12 * 200))
    assert 0.9 < deviation.std() < 1.1
