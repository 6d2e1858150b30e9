"""Likelihoods of sequences that continue from a common beginning are those of whole passes."""

from dataclasses import replace

import numpy as np
import pytest
from families import random_protein
from finished_runs import CONTEXT, finished_run

from plm_scaling.inference.fasta import entries_of
from plm_scaling.inference.models.open import open_model
from plm_scaling.inference.scoring.scorer import Scorer
from plm_scaling.inference.scoring.shared_prefix import log_likelihoods, shares_prefixes

KINDS = {
    "study": {},
    "prenorm": {"recipe": "prenorm"},
    "start": {"start_token": True},
    "long": {"context_length": 512},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, changes in KINDS.items():
        finished_run(folder / name, **changes)
    finished_run(folder / "mlm", "mlm")
    return folder


def mutants(wild_type):
    """Of the first, a middle and the last residue, several at once, shorter and longer ones."""
    middle = len(wild_type) // 2
    for at in (0, 1, middle, len(wild_type) - 1):
        for new in "WXA":
            yield wild_type[:at] + new + wild_type[at + 1 :]
    yield wild_type
    yield wild_type[:3] + "C" + wild_type[4:middle] + "CC" + wild_type[middle + 2 :]
    yield wild_type[:-5]
    yield wild_type[:middle] + wild_type[middle + 4 :]
    yield wild_type[:middle] + "GGSG" + wild_type[middle:]
    yield wild_type + "WW"
    yield wild_type[:1]


def whole(model, sequences):
    entries, lengths = entries_of(sequences)
    own, _ = Scorer(model).scores(entries, lengths)
    return [np.nansum(part.astype(float)) for part in np.split(own, np.cumsum(lengths)[:-1])]


@pytest.mark.parametrize("batch_tokens", [1 << 12, 100])
@pytest.mark.parametrize("name", ["study", "prenorm", "start", "prefix"])
def test_scores_are_those_of_whole_sequences(runs, name, batch_tokens, monkeypatch):
    monkeypatch.setitem(
        log_likelihoods.__globals__, "BATCH_TOKENS", {"cpu": batch_tokens}
    )  # many batches, or one
    wild_type = random_protein(np.random.default_rng(1), 40)
    sequences = [*mutants(wild_type)]
    with open_model(str(runs / ("study" if name == "prefix" else name)), threads=1) as model:
        if name == "prefix":  # as imports have it
            model = replace(model, alphabet=replace(model.alphabet, row_prefix=(30, 31)))
        found = log_likelihoods(model, wild_type, sequences)
        again = whole(model, [wild_type, *sequences])
    np.testing.assert_allclose(found, again, rtol=1e-6, atol=1e-5)


def test_what_is_common_is_read_once(runs):
    """Mutants of one site cost what is behind it."""
    wild_type = random_protein(np.random.default_rng(2), 300)
    for at in (150, 290):
        read = []
        sequences = [wild_type[:at] + new + wild_type[at + 1 :] for new in "ACDEFGHIKLMNPQRSTVW"]
        with open_model(str(runs / "long"), threads=1) as model:
            found = log_likelihoods(model, wild_type, sequences, read.append)
            np.testing.assert_allclose(
                found, whole(model, [wild_type, *sequences]), rtol=1e-6, atol=1e-5
            )
        changed = [one for one in sequences if one != wild_type]
        assert sum(read) <= 300 + (1 + len(sequences)) * (300 - at)
        assert sum(read) >= 300 + len(changed) * (299 - at)


def test_only_where_it_is_exact(runs):
    with open_model(str(runs / "study"), threads=1) as model:
        assert shares_prefixes(model, CONTEXT)
        assert not shares_prefixes(model, CONTEXT + 1)  # read in windows
        with pytest.raises(ValueError, match="cannot continue"):
            log_likelihoods(model, "M", ["M" * (CONTEXT + 1)])
    with open_model(str(runs / "mlm"), threads=1) as model:
        assert not shares_prefixes(model, 10)
