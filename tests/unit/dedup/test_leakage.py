"""What is measured of planted leaks, by bin of identity."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from families import mutate, random_protein
from pools import make_pool
from splits import read_pool

from plm_scaling.config.data import LeakageCheck
from plm_scaling.dedup import leakage
from plm_scaling.dedup.kmers import K, in_training
from plm_scaling.dedup.leakage import align, summary
from plm_scaling.dedup.residues import Residues
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.mmseqs.tool import find_mmseqs
from plm_scaling.pool.read import Pool
from plm_scaling.pool.selection import of_keys

CHECK = LeakageCheck(min_seq_id=0.5, coverage=0.8, check_sensitivity=7.5, max_leaked_fraction=0)
# By bin: the share of residues in which training's copy of the held-out sequence differs.
RATES = {"exact": 0, ">=0.9": 0.05, ">=0.7": 0.2, ">=0.5": 0.4, ">=0.3": 0.6}
RELATIVES = 12


def planted() -> list[tuple[str, str]]:
    """Held-out sequences `h…` and what training, `t…`, has of them."""
    rng = np.random.default_rng(8)
    records = [("hnone", random_protein(rng, 200)), ("hshort", random_protein(rng, K - 1))]
    for name, rate in RATES.items():
        own = random_protein(rng, 200)
        # A relative with other residues before it, since the pool has no sequence twice.
        records += [
            (f"h{name}", own),
            (f"t{name}", random_protein(rng, 20) + mutate(rng, own, rate)),
        ]
    large = random_protein(rng, 200)
    family = [(f"t{number}", mutate(rng, large, 0.25)) for number in range(RELATIVES)]
    return [*records, ("hfamily", large), *family]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"), {"one": planted()})


Measured = tuple[Residues, pd.DataFrame, pd.DataFrame]


@pytest.fixture(scope="module")
def usual(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return measured(pool, tmp_path_factory.mktemp("usual"))


def measured(pool: Pool, folder: Path) -> Measured:
    """The held-out sequences, what was found of each by name, and the table."""
    names = {row["key"]: row["id"] for row in read_pool(pool)}
    held_out, training = (
        of_keys(pool, np.array([key for key in sorted(names) if names[key][0] == side]))
        for side in "ht"
    )
    own = Residues.of(held_out)
    tool = find_mmseqs("auto")
    with Steps(folder / "out", "contamination", {}, tool, Resources(1, 2000)) as steps:
        target = training.view(folder / "train")
        align(steps, "valid", own, target, CHECK, folder / "found.parquet")
    found = pd.read_parquet(folder / "found.parquet")
    exact = own.per_sequence(in_training(own.letters(), training))
    table = summary("valid", own, exact, found).set_index("identity")
    return own, found.set_index(pd.Index([names[key] for key in own.keys])), table


def test_sequences_are_in_the_bin_of_their_best_alignment(usual: Measured) -> None:
    own, found, table = usual
    # 200 residues each; the family is in the bin of a quarter of differences.
    assert table.sequences.to_dict() == {
        **{"exact": 1, ">=0.9": 1, ">=0.7": 2, ">=0.5": 1, ">=0.3": 1, "<0.3": 0, "none": 2},
    }
    assert table.residues.sum() == own.lengths.sum()
    assert table.residues_testable["none"] == 200  # the other one is too short for a 30-mer
    assert table.residues_in_30mers["exact"] == 200
    assert table.residues_in_30mers[[">=0.5", ">=0.3", "none"]].sum() == 0
    assert table.residues_aligned["none"] == 0
    assert (found.aligned[["hexact", "h>=0.9", "hfamily"]] > 190).all()
    assert found.index[found.alone].tolist() == found.index[found.identity >= 500].tolist()


def test_how_many_candidates_a_search_lists_limits_nothing(
    pool: Pool, usual: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leakage, "MAX_SEQS", 2)
    _, found, _ = measured(pool, tmp_path)
    pd.testing.assert_frame_equal(found, usual[1])
