"""Apply the rules to the score tables; nothing is scored again when a threshold changes.

Two passes over the parts: the first counts histograms of perplexity and sets the thresholds, the
second judges every record. One part's scores are held at a time, and no sequences.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from plm_scaling.common.counts import Counts
from plm_scaling.common.errors import FilterError
from plm_scaling.common.files import atomic, write_json
from plm_scaling.common.parts import part_name
from plm_scaling.common.progress import Progress
from plm_scaling.common.rows import RowWriter
from plm_scaling.config.data import Thresholds
from plm_scaling.filter.examples import Examples
from plm_scaling.filter.membership import NAME, SPLITS, TRAIN, VALID, named
from plm_scaling.filter.overlap import Overlap
from plm_scaling.filter.rules import KEPT, REASONS, TOO_HIGH, TOO_LOW, judge
from plm_scaling.filter.score import SCORE_SCHEMA, SCORES
from plm_scaling.filter.scores import PartScores, ScoreParts
from plm_scaling.filter.strata import REDUNDANT, SELECTED_SCHEMA, STRATA, JudgedRecords, entering
from plm_scaling.filter.thresholds import (
    MISSING,
    RESOLUTION,
    Histograms,
    LengthBins,
    Limits,
    steps_of,
)
from plm_scaling.filter.totals import Totals
from plm_scaling.mmseqs.tool import find_mmseqs
from plm_scaling.pool.read import Pool

logger = logging.getLogger("plm_scaling")

MEASURED = [field for field in SCORE_SCHEMA if field.name != "model"]
DROPPED_SCHEMA = pa.schema([*MEASURED, pa.field("reason", NAME)])


def select_sequences(
    pool: Path, split: Path, scores: Path, settings: Thresholds, mmseqs: str, out: Path
) -> None:
    """Judge every record whose sequence has a score and list those to tokenise.

    Length, unknown residues and low complexity are judged in all splits. The perplexity rule is
    applied to training only, so that the held-out sets, and with them the loss, do not depend on
    its thresholds: two quantiles, per source and length bin (`length_bins`: lower edges in
    residues), of the training representatives that pass the other rules; 0 and 1 keep all.

    The folder `out` gets part-….parquet (strata of `plm_scaling.filter.strata`), dropped.parquet
    (every record that fails, with scores and reason; those of training are listed for corpora that
    are not filtered too), thresholds.json, counts.tsv, totals.json, and the tables of the figures:
    perplexity.tsv, examples.tsv and overlap.tsv (which runs MMseqs2). counts.tsv counts the first
    records of representatives, as the split does; `handled:redundant` are the near-duplicates and
    exact copies in training that pass, in addition.

    Args:
        pool: folder of the pool's parts
        split: folder made by split_clusters.py
        scores: folder of the score tables
        settings: thresholds of the block filter of the config
        mmseqs: path of MMseqs2, or auto
        out: folder to make
    """
    bins = LengthBins(settings.length_bins)
    tool = find_mmseqs(mmseqs)
    opened = Pool.open(pool)
    parts = ScoreParts(opened, split, scores)
    histograms = _count(parts, settings, bins)
    limits = histograms.limits(*settings.perplexity_quantiles)
    counts, totals = Counts("filter"), Totals(opened.sources)
    examples, overlap = Examples(opened.sources), Overlap(opened.sources)
    progress = Progress("filter", len(opened.parts), "parts")
    with atomic(out) as folder:
        folder.mkdir(parents=True)
        with RowWriter(folder / "dropped.parquet", DROPPED_SCHEMA) as dropped:
            for part in parts:
                code = judge(settings, *part.measured())
                verdict = _perplexity(part, bins, limits)
                overlap.add(part, code, verdict)
                code = np.where(code == 0, verdict, code)
                name = f"{part_name(part.part.number)}.parquet"
                with RowWriter(folder / name, SELECTED_SCHEMA) as selected:
                    for records in entering(part, code):
                        selected.write(records.rows(part.part.first_key, opened.sources))
                        dropped.write(_dropped(part, records, opened.sources))
                        _tally(counts, opened.sources, records)
                        totals.add(records)
                        examples.add(part, records)
                progress.add(1)
        for what in (TRAIN, VALID):
            if not totals.records(what):
                raise FilterError(f"no {what} sequence passes the filter; loosen its thresholds")
        write_json(
            folder / "thresholds.json",
            {
                "model": parts.model,
                "rules": settings.model_dump(exclude={"length_bins"}),
                "unit": "nats per residue",
                "perplexity": _described(opened.sources, histograms, limits),
            },
        )
        histograms.write(folder / "perplexity.tsv", limits)
        examples.write(folder / "examples.tsv")
        overlap.write(folder / "overlap.tsv", tool)
        counts.write(folder / "counts.tsv")
        write_json(folder / "totals.json", totals.table())
    for source in opened.sources:
        if entered := counts.get(source, "in")[0]:
            kept = counts.get(source, KEPT)[0]
            logger.info("[filter] %s: %s of %s records kept", source, f"{kept:,}", f"{entered:,}")


def _count(parts: ScoreParts, settings: Thresholds, bins: LengthBins) -> Histograms:
    """Perplexity of the training representatives that pass the other rules."""
    sources = parts.pool.sources
    histograms = Histograms(sources, bins)
    entered = np.zeros(len(sources), np.int64)
    for part in parts:
        chosen = part.membership.of(TRAIN) & part.membership.representative
        entered += np.bincount(part.owner[chosen], minlength=len(sources))
        chosen &= judge(settings, *part.measured()) == 0
        steps = steps_of(part.nll_per_residue[chosen])
        histograms.add(part.owner[chosen], part.length[chosen], steps)
    for source, number, counted in zip(sources, entered, histograms.counts, strict=True):
        if number and not counted.any():
            raise FilterError(
                f"no training sequence of {source!r} passes the length, unknown-residue and "
                "low-complexity rules; loosen them or leave the source out"
            )
    return histograms


def _perplexity(part: PartScores, bins: LengthBins, limits: list[list[Limits]]) -> np.ndarray:
    """Verdict (int8, place in `REASONS`) of only the perplexity rule on each sequence.

    Held-out sequences, and those about which the model says nothing, pass.
    """
    edges = np.array([[(bin_.low, bin_.high) for bin_ in own] for own in limits])
    place = bins.of(part.length)
    low, high = (edges[part.owner, place, side] for side in (0, 1))
    steps = steps_of(part.nll_per_residue)
    judged = part.scored & part.membership.of(TRAIN) & (steps != MISSING)
    failed = [judged & (steps < low), judged & (steps >= high)]
    codes = [REASONS.index(TOO_LOW), REASONS.index(TOO_HIGH)]
    return np.select(failed, codes, default=0).astype(np.int8)


def _dropped(part: PartScores, records: JudgedRecords, sources: list[str]) -> pa.Table:
    """The records that fail as rows of `DROPPED_SCHEMA`."""
    failed = records.code != 0
    key = records.key[failed]
    columns = [
        key.astype(np.uint32) + np.uint32(part.part.first_key),
        records.id.filter(pa.array(failed)),
        named(records.source[failed], sources),
        named(records.split[failed], SPLITS),
        records.length[failed].astype(np.uint32),
        *(pa.array(getattr(part, name)[key], from_pandas=True) for name in SCORES),
        named(records.code[failed], REASONS),
    ]
    return pa.table(columns, schema=DROPPED_SCHEMA)


def _tally(counts: Counts, sources: list[str], records: JudgedRecords) -> None:
    """Count what entered, what was kept and what was dropped by reason."""
    again = (records.stratum & REDUNDANT) != 0
    for row, source in enumerate(sources):
        here = records.source == row
        own = here & ~again
        if own.any():
            counts.tally(source, REASONS, records.code[own], records.length[own])
        own = here & again & (records.code == 0)
        if own.any():
            counts.add(source, f"handled:{STRATA[REDUNDANT]}", own.sum(), records.length[own].sum())


def _described(
    sources: list[str], histograms: Histograms, limits: list[list[Limits]]
) -> dict[str, list[dict[str, Any]]]:
    """Thresholds per source and length bin; sequences stay from `low` to below `high`."""
    bins = histograms.bins
    return {
        source: [
            {
                "min_length": bins.bounds(number)[0],
                "below_length": bins.bounds(number)[1],
                "low": round(bin_.low * RESOLUTION, 4),
                "high": round(bin_.high * RESOLUTION, 4),
                "sequences": int(counted[number].sum()),
                "from_sequences": bin_.sequences,
                "from_lengths": [bins.bounds(bin_.first)[0], bins.bounds(bin_.last)[1]],
            }
            for number, bin_ in enumerate(own)
        ]
        for source, own, counted in zip(sources, limits, histograms.counts, strict=True)
    }
