"""Apply the thresholds to the score table; nothing is scored again when a threshold changes."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from plm_scaling.counts import Counts
from plm_scaling.dedup.database import make_subdatabase
from plm_scaling.dedup.mmseqs import find_mmseqs
from plm_scaling.dedup.split import TRAIN, VALID, sequences_of
from plm_scaling.errors import FilterError
from plm_scaling.files import atomic, write_json
from plm_scaling.filter.score import SCORE_SCHEMA
from plm_scaling.rows import RowWriter, read_rows

logger = logging.getLogger("plm_scaling")

# In the order in which they are tried; the first that fails is the reason.
KEPT = "kept"
REASONS = [
    KEPT,
    "too_short",
    "too_long",
    "too_many_unknown",
    "low_complexity",
    "perplexity_too_low",
    "perplexity_too_high",
]
DROPPED_SCHEMA = SCORE_SCHEMA.append(pa.field("reason", pa.string()))


@dataclass(frozen=True)
class Rules:
    """Rules that look at one sequence alone; lengths in residues, fractions 0 to 1."""

    min_length: int
    max_length: int
    max_unknown_fraction: float
    min_distinct_3mer_ratio: float


def selected_sequences(folder: Path, split: str, source: str) -> Path:
    """The sequence database of what was kept of one split and source."""
    return folder / split / source


def select_sequences(
    scores: Path,
    split: Path,
    min_length: int,
    max_length: int,
    max_unknown_fraction: float,
    min_distinct_3mer_ratio: float,
    perplexity_quantiles: list[float],
    mmseqs: str,
    out: Path,
) -> None:
    """Keep the sequences that pass all rules and copy them to one database per split and source.

    Length, unknown residues and low complexity are judged in both splits. The perplexity rule is
    applied to training only, so that the held-out set, and with it the loss, does not depend on its
    threshold. Its two thresholds are quantiles, per source, of the training sequences that pass the
    other rules; 0 and 1 keep all. The folder `out` gets kept.parquet, dropped.parquet (with score
    and reason), thresholds.json, counts.tsv and the databases.
    """
    low, high = perplexity_quantiles
    if not 0 <= low < high <= 1:
        raise FilterError(f"perplexity quantiles {low} and {high} must ascend between 0 and 1")
    if not 0 < min_length <= max_length:
        raise FilterError(f"lengths {min_length} to {max_length} keep no sequence")
    tool = find_mmseqs(mmseqs)
    rules = Rules(min_length, max_length, max_unknown_fraction, min_distinct_3mer_ratio)
    limits = _perplexity_limits(scores, rules, low, high)
    counts = Counts("filter")
    with atomic(out) as folder:
        folder.mkdir()
        keys = _apply(scores, rules, limits, counts, folder)
        for (part, source), chosen in keys.items():
            if len(chosen):
                database = selected_sequences(folder, part, source)
                make_subdatabase(tool, sequences_of(split, part), chosen, database)
        for part in (TRAIN, VALID):
            if not any(len(chosen) for (name, _), chosen in keys.items() if name == part):
                raise FilterError(f"no {part} sequence passes the filter; loosen its thresholds")
        perplexity = {
            source: {"low": a, "high": b, "unit": "nats per residue"}
            for source, (a, b) in limits.items()
        }
        chosen_rules = {**asdict(rules), "perplexity_quantiles": [low, high]}
        write_json(folder / "thresholds.json", {"rules": chosen_rules, "perplexity": perplexity})
        counts.write(folder / "counts.tsv")
    for source in limits:
        entered, kept = counts.get(source, "in")[0], counts.get(source, KEPT)[0]
        logger.info("[filter] %s: %s of %s sequences kept", source, f"{kept:,}", f"{entered:,}")


def judge(table: pa.Table, rules: Rules) -> np.ndarray:
    """Codes of `REASONS` for the rules that need no threshold from the data."""
    length = table["length"].to_numpy()
    unknown = table["unknown_fraction"].to_numpy()
    distinct = table["distinct_3mer_ratio"].to_numpy(zero_copy_only=False)
    failed = [
        length < rules.min_length,
        length > rules.max_length,
        unknown > rules.max_unknown_fraction,
        distinct < rules.min_distinct_3mer_ratio,  # false where missing, in very short ones
    ]
    return np.select(failed, range(1, 1 + len(failed)), default=0).astype(np.int8)


def _perplexity_limits(
    scores: Path, rules: Rules, low: float, high: float
) -> dict[str, tuple[float, float]]:
    """Lowest and highest nats per residue that stay, per source, from the training sequences."""
    values: dict[str, list[np.ndarray]] = {}
    for table in read_rows(scores):
        passing = (judge(table, rules) == 0) & _equals(table, "split", TRAIN)
        nll = table["nll_per_residue"].to_numpy()
        for source in pc.unique(table["source"]).to_pylist():
            own = nll[passing & _equals(table, "source", source)]
            values.setdefault(source, []).append(own)
    limits = {}
    for source, pieces in values.items():
        joined = np.concatenate(pieces)
        if len(joined) == 0:
            raise FilterError(
                f"no training sequence of {source!r} passes the length, unknown-residue and "
                "low-complexity rules; loosen them or leave the source out"
            )
        limits[source] = (float(np.quantile(joined, low)), float(np.quantile(joined, high)))
    return limits


def _equals(table: pa.Table, column: str, value: str) -> np.ndarray:
    return pc.equal(table[column], value).to_numpy()


def _apply(
    scores: Path,
    rules: Rules,
    limits: dict[str, tuple[float, float]],
    counts: Counts,
    folder: Path,
) -> dict[tuple[str, str], np.ndarray]:
    """Write kept.parquet and dropped.parquet, count, and return the kept keys."""
    keys: dict[tuple[str, str], list[np.ndarray]] = {}
    reasons = pa.array(REASONS)
    with (
        RowWriter(folder / "kept.parquet", SCORE_SCHEMA) as kept,
        RowWriter(folder / "dropped.parquet", DROPPED_SCHEMA) as dropped,
    ):
        for table in read_rows(scores):
            code = judge(table, rules)
            is_split = {split: _equals(table, "split", split) for split in (TRAIN, VALID)}
            is_source = {name: _equals(table, "source", name) for name in limits}
            nll, length = table["nll_per_residue"].to_numpy(), table["length"].to_numpy()
            for name, (low, high) in limits.items():
                open_ = (code == 0) & is_source[name] & is_split[TRAIN]
                code[open_ & (nll < low)] = REASONS.index("perplexity_too_low")
                code[open_ & (nll > high)] = REASONS.index("perplexity_too_high")
            kept.write(table.filter(pa.array(code == 0)))
            with_reason = table.append_column("reason", reasons.take(pa.array(code)))
            dropped.write(with_reason.filter(pa.array(code != 0)))
            for name in limits:
                own = is_source[name]
                counts.add(name, "in", own.sum(), length[own].sum())
                for number, reason in enumerate(REASONS):
                    chosen = own & (code == number)
                    counts.add(name, reason, chosen.sum(), length[chosen].sum())
                for split in (TRAIN, VALID):
                    chosen = own & (code == 0) & is_split[split]
                    keys.setdefault((split, name), []).append(table["key"].to_numpy()[chosen])
    return {place: np.concatenate(pieces) for place, pieces in keys.items()}
