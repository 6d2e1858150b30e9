"""Open a token corpus: shards checked against the manifest, mapped, and read by row."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from plm_scaling.common.errors import TokenError
from plm_scaling.tokens.format.manifest import entries, list_shards, read_manifest
from plm_scaling.tokens.format.shards import AGAIN, read_shard
from plm_scaling.tokens.read.mapping import MappedFiles
from plm_scaling.tokens.read.order import VALID, TrainingOrder, stream
from plm_scaling.tokens.read.permutation import permute
from plm_scaling.tokens.read.rows import MappedShard, TokenRows

PROTEIN = "protein"


class HeldOutSample(NamedTuple):
    """Held-out rows of one source: uint8 (n, context_length). The first `proportional` are its
    share of the sample of all sources; the others only make its own loss meaningful."""

    rows: np.ndarray
    proportional: int


class TokenCorpus:
    def __init__(
        self, manifest: dict[str, Any], mapping: MappedFiles, shards: dict[str, MappedShard]
    ) -> None:
        self.manifest = manifest
        self.context_length: int = manifest["context_length"]
        self.start_token: bool = manifest.get("start_token", False)
        self._mapping = mapping
        self._shards = shards

    @classmethod
    def open(cls, manifest_path: Path | str, verify: bool = True) -> "TokenCorpus":
        """Map all shards of a manifest.

        With `verify` every shard's SHA-256 is compared, which reads it once; without, only its size
        and metadata. Raises `TokenError` naming the file that is missing, damaged or of another
        version, vocabulary or context length.
        """
        path = Path(manifest_path)
        manifest = read_manifest(path)
        listed = list_shards(entries(manifest), path)
        for shard in listed:
            shard.check(verify)
        try:
            mapping = MappedFiles([(shard.path, shard.bytes) for shard in listed])
        except OSError as error:
            raise TokenError(f"{path}: its shards cannot be mapped ({error})") from error
        data = pa.py_buffer(mapping.bytes)
        shards = {}
        for shard, first in zip(listed, mapping.firsts, strict=True):
            values, rows, _ = read_shard(
                data.slice(first, shard.bytes), shard.path, manifest["context_length"]
            )
            if rows != shard.rows:
                raise TokenError(
                    f"{shard.path} has {rows} rows, the manifest says {shard.rows}; {AGAIN}"
                )
            begin = values.address - data.address
            shards[shard.name] = MappedShard(begin, rows, shard.tokens)
        return cls(manifest, mapping, shards)

    def rows(self, split: str, source: str, strata: Sequence[str] = ("kept",)) -> TokenRows:
        """The rows of a split and source, stratum after stratum, of which it may lack some."""
        known = self._sources(split)
        if source not in known:
            raise TokenError(
                f"source {source!r} is not among those of {split}: {', '.join(known) or 'none'}"
            )
        entries = [
            known[source]["strata"][name] for name in strata if name in known[source]["strata"]
        ]
        shards = [self._shards[shard["path"]] for entry in entries for shard in entry["shards"]]
        return TokenRows(self._mapping, shards, self.context_length)

    def train_rows(
        self,
        mixture: dict[str, float],
        strata: Sequence[str] = ("kept",),
        unique_tokens: float | Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> TrainingOrder:
        """The training rows of a mixture, in the order of a seed.

        `mixture` gives each source's share of the rows; shares are scaled to sum to 1. `strata` are
        those of the filter that are read. `unique_tokens` limits the different tokens: a number in
        total, divided by the shares, or a number for each source that is to be limited. A source's
        budget is a whole number of rows, by its mean tokens per row, and the same rows whatever the
        rest of the mixture; a smaller budget is part of a larger one.
        Raises `TokenError` for a source or stratum that the corpus does not have, or a budget
        larger than what there is.
        """
        shares = self._shares(mixture)
        sources = {name: self.rows("train", name, strata) for name in shares}
        self._check_strata(shares, strata)
        unique_rows = {}
        for name, rows in sources.items():
            if len(rows) == 0:
                raise TokenError(f"source {name!r} has no training row of {', '.join(strata)}")
            if isinstance(unique_tokens, Mapping):
                budget = unique_tokens.get(name)
            else:
                budget = None if unique_tokens is None else unique_tokens * shares[name]
            unique_rows[name] = _rows_within(budget, name, rows)
        return TrainingOrder(sources, shares, unique_rows, seed)

    def held_out_rows(
        self, split: str, n_rows: int, seed: int, least: int = 0
    ) -> dict[str, HeldOutSample]:
        """A fixed sample of `n_rows` held-out protein rows by source, with further ones of sources
        that have few.

        Sources enter in proportion to their held-out rows, whatever is trained on, so that losses
        of different mixtures are compared on the same rows. A source with less than `least` rows in
        the sample gets rows up to that number, or all that it has. Sources of proteins only:
        held-out code shares most of its text with what is trained on. Raises `TokenError` when the
        split has less than `n_rows` rows.
        """
        sources = self._held_out_sources(split)
        available = sum(map(len, sources.values()))
        if not 0 < n_rows <= available:
            raise TokenError(
                f"{n_rows} rows of {split} are asked for, the corpus "
                f"{self.manifest['corpus']!r} has {available}; ask for 1 to {available}, or hold "
                "more back"
            )
        shares = {name: len(rows) / available for name, rows in sources.items()}
        samples = {}
        for name, count in apportion(n_rows, shares).items():
            rows = sources[name]
            wanted = np.arange(max(count, min(least, len(rows))))
            place = permute(wanted, len(rows), seed, VALID, stream(name))
            samples[name] = HeldOutSample(rows.read(place), count)
        return samples

    def n_held_out_rows(self, split: str) -> int:
        """Held-out protein rows of a split, valid or ood; 0 where the corpus has none."""
        return sum(map(len, self._held_out_sources(split).values()))

    def _held_out_sources(self, split: str) -> dict[str, TokenRows]:
        return {
            name: self.rows(split, name)
            for name, entry in sorted(self._sources(split).items())
            if entry["kind"] == PROTEIN
        }

    def _sources(self, split: str) -> dict[str, Any]:
        sources: dict[str, Any] = self.manifest["splits"].get(split, {"sources": {}})["sources"]
        return sources

    def _shares(self, mixture: dict[str, float]) -> dict[str, float]:
        known = self._sources("train")
        total = sum(mixture.values())
        for source, share in mixture.items():
            if source not in known:
                raise TokenError(
                    f"the mixture names source {source!r}, the corpus "
                    f"{self.manifest['corpus']!r} has {', '.join(known)}"
                )
            if share < 1e-6 * total:
                raise TokenError(f"share {share} of source {source!r} is so small: leave it out")
        return {source: share / total for source, share in mixture.items()}

    def _check_strata(self, shares: dict[str, float], wanted: Sequence[str]) -> None:
        """Each stratum is somewhere, but for that of both rules, which may well be empty."""
        found = {name for source in shares for name in self._sources("train")[source]["strata"]}
        missing = [name for name in wanted if name not in found and name != "redundant_filtered"]
        if missing:
            raise TokenError(
                f"no source of the mixture has a sequence of stratum {missing[0]!r}: the filter "
                "was run without it, or there is none"
            )


def apportion(n_rows: int, shares: dict[str, float]) -> dict[str, int]:
    """Whole numbers that sum to `n_rows`, each within one of its share (largest remainder)."""
    exact = {name: n_rows * share for name, share in shares.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: n_rows - sum(counts.values())]:
        counts[name] += 1
    return counts


def _rows_within(budget: float | None, name: str, rows: TokenRows) -> int:
    """Rows that hold a budget of tokens."""
    if budget is None:
        return len(rows)
    if not 0 < budget <= rows.tokens:
        raise TokenError(
            f"{budget:,.0f} unique tokens of source {name!r} are asked for, it has "
            f"{rows.tokens:,}; ask for fewer, or give the source a smaller share"
        )
    return min(len(rows), max(1, round(budget / rows.tokens_per_row)))
