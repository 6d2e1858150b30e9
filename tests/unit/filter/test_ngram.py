import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_scaling.common.errors import FilterError
from plm_scaling.filter import ngram
from plm_scaling.filter.complexity import unknown_fraction

sequence_lists = st.lists(st.text("ACDXBZJWY", min_size=1, max_size=30), min_size=1, max_size=8)


def entries(sequences: list[str]) -> bytes:
    return b"".join(sequence.encode() + b"\n\0" for sequence in sequences)


def symbols(sequence: str) -> list[str]:
    return [letter if letter in ngram.ALPHABET else "X" for letter in sequence]


def probability(counts: dict[tuple[str, ...], int], history: tuple[str, ...], x: str) -> float:
    """The equation of the module, term by term."""
    lower = 1 / 21 if not history else probability(counts, history[1:], x)
    after = {}
    for gram, n in counts.items():
        if gram[-1 - len(history) : -1] == history:
            after[gram[-1]] = after.get(gram[-1], 0) + n
    total = sum(after.values())
    if total == 0:
        return lower
    seen = max(after.get(x, 0) - ngram.DISCOUNT, 0) / total
    return seen + ngram.DISCOUNT * len(after) / total * lower


def grams(sequence: str, order: int) -> list[tuple[str, ...]]:
    padded = ["^"] * (order - 1) + symbols(sequence)
    return [tuple(padded[i : i + order]) for i in range(len(sequence))]


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@settings(max_examples=15, deadline=None)
@given(training=sequence_lists, scored=sequence_lists)
def test_score_any_sequences_equals_the_equation(
    order: int, training: list[str], scored: list[str]
) -> None:
    model = ngram.train(ngram.count(entries(training), order), order)
    counts: dict[tuple[str, ...], int] = {}
    for gram in itertools.chain.from_iterable(grams(s, order) for s in training):
        counts[gram] = counts.get(gram, 0) + 1
    chunk = entries(scored)
    lengths = np.array([len(sequence) for sequence in scored])
    nll, unknown = model.nll_per_residue(chunk, lengths), unknown_fraction(chunk, lengths)
    for value, share, sequence in zip(nll, unknown, scored, strict=True):
        expected = [-np.log(probability(counts, g[:-1], g[-1])) for g in grams(sequence, order)]
        assert value == pytest.approx(np.mean(expected), rel=1e-9)
        assert share == pytest.approx(sum(c in "XBZJ" for c in sequence) / len(sequence))


def test_model_probabilities_sum_to_one_after_every_history() -> None:
    rng = np.random.default_rng(1)
    letters = rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 3000)
    model = ngram.train(ngram.count(entries(["".join(letters)]), 3), 3)
    table = np.exp(-model.nll.reshape(22, 22, 22)[:, :, : ngram.BOUNDARY])
    assert np.allclose(table.sum(axis=-1), 1)


def test_model_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    model = ngram.train(ngram.count(entries(["ACDACD"]), 2), 2)
    model.save(tmp_path / "model.npz", "here")
    loaded = ngram.load_ngram(tmp_path / "model.npz")
    assert (loaded.order, loaded.discount) == (2, ngram.DISCOUNT)
    assert np.array_equal(loaded.nll, model.nll)
    assert loaded.name.startswith("2-gram here ")


def test_model_name_is_unique_to_the_model(tmp_path: Path) -> None:
    names = set()
    for number, text in enumerate(["ACD", "ACE"]):
        path = tmp_path / f"{number}.npz"
        ngram.train(ngram.count(entries([text]), 2), 2).save(path, "here")
        names.add(ngram.load_ngram(path).name)
    assert len(names) == 2


class Attack:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.mark), "w")


def test_model_that_brings_code_is_refused_and_its_code_not_run(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    ngram.train(ngram.count(entries(["ACD"]), 2), 2).save(path, "here")
    rewritten(path, nll=np.array([Attack(tmp_path / "mark")], dtype=object))
    with pytest.raises(FilterError, match="no n-gram model, or damaged"):
        ngram.load_ngram(path)
    assert not (tmp_path / "mark").exists()


def rewritten(path: Path, **changed: object) -> None:
    with np.load(path) as saved:
        content = {**saved, **changed}
    np.savez(path, **content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(b"not a model"), "no n-gram model, or damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "no n-gram model, or damaged"),
        (lambda path: rewritten(path, format="plm-scaling ngram 0"), "another version"),
        (lambda path: rewritten(path, alphabet="ACGT"), "another version"),
        (lambda path: rewritten(path, order=3), "does not fit order 3"),
    ],
)
def test_model_of_another_format_or_damaged_is_named(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "model.npz"
    ngram.train(ngram.count(entries(["ACDACD"]), 2), 2).save(path, "here")
    damage(path)
    with pytest.raises(FilterError, match=message) as raised:
        ngram.load_ngram(path)
    assert str(path) in str(raised.value)


def test_model_without_residues_is_refused() -> None:
    with pytest.raises(FilterError, match="no residue"):
        ngram.train(np.zeros(22, np.int64), 1)
