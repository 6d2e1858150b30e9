"""Config blocks of the data path: data, corpora, dedup, split, filter, tokens."""

import re
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from plm_scaling.config.numbers import (
    NAME,
    Block,
    Count,
    Day,
    Follows,
    Fraction,
    Name,
    Number,
    Positive,
    Share,
)

SHIPPED_TABLE = "resources/sources.tsv"
Column = str | int | date | list[str]
LONGEST_ROW = 1_000_000  # tokens
MAX_SOURCES = 127  # a sequence's owner has one byte, in the pool and in what follows


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError("must be a power of two")
    return value


def _columns_by_name(value: Any) -> Any:
    """One message for what is wrong with files of one's own, not one for each type it is not."""
    for name, columns in value.items() if isinstance(value, dict) else ():
        if not re.match(NAME, str(name)):
            raise ValueError(f"{name!r}: give a name of letters, digits and _ . - only")
        if not isinstance(columns, dict):
            raise ValueError(f"{name}: give {{path: my.fasta.gz}}, not {columns!r}")
        for column, one in columns.items():
            several = one if column == "path" and isinstance(one, list) and one else [one]
            if not all(isinstance(each, str | int | date) for each in several):
                raise ValueError(f"{name}.{column}: give one text, number or date, not {one!r}")
    return value


class Mmseqs(Block):
    """Which MMseqs2 runs. Versions give different clusters in some modes; one is pinned."""

    path: str = "auto"
    """auto: the conda environment under --sdm conda, else the binary that `make install` brought,
    else `mmseqs` on PATH. Or the path of a binary of MMseqs2 18."""


class Data(Block):
    """The sequences that all corpora draw from, and how the work on them is divided."""

    name: Annotated[Name, Follows("that of the study")]
    """Data go to data/{name}/. Another name keeps two sets of sequences side by side."""
    sources: Annotated[str | dict[Name, dict[str, Column]], BeforeValidator(_columns_by_name)] = (
        SHIPPED_TABLE
    )
    """Source table, with versions and checksums: a tab-separated file, relative to the repository.
    Or files of your own by name, {mine: {path: my.fasta.gz}}, beside the table that ships: a path
    is relative to the working directory and may be a folder, a pattern or a list of paths; other
    columns of a table may follow (docs/sources.md)."""
    parts: Annotated[int, Field(ge=1, le=4096), AfterValidator(_power_of_two)] = 4
    """Parts that the sequences are divided in by content, a power of two: jobs that run side by
    side, each with one part in memory. About one per billion residues; the tokens do not depend on
    it."""
    max_rejected_fraction: Fraction = 0.001
    """Share of a source's records that may be unusable (no name, no sequence, a character that is
    no residue); such records are left out and listed in rejected.parquet. More stop the run."""

    @property
    def table(self) -> str:
        """The source table, relative to the repository."""
        return self.sources if isinstance(self.sources, str) else SHIPPED_TABLE

    @property
    def own(self) -> dict[str, dict[str, Column]]:
        """Columns of the sources that the config declares itself."""
        return {} if isinstance(self.sources, str) else self.sources


class Corpus(Block):
    """What models are trained on, by name: sources in proportion, and what is left out of them. All
    corpora are views of the same tokens: another one costs no data stage, only training."""

    path: Annotated[str | list[str] | None, Field(exclude=True)] = None
    """Files of your own, FASTA or Parquet, as a source that has the corpus's name: a file, a
    folder, a pattern, or a list of them, relative to the working directory."""
    mixture: Annotated[dict[Name, Share], Field(min_length=1), Follows("the files of `path` alone")]
    """Share of each source (a name in `data.sources`) in the training tokens; they sum to 1. The
    first source that has a sequence owns it. A code source is a source like any other."""
    dedup: bool = True
    """Leave out near-duplicates (the block `dedup` says what they are); false trains on them
    too."""
    filter: bool = True
    """Leave out what the filter drops; false trains on it too."""
    unique_tokens: Positive | dict[Name, Positive] | None = None
    """Unique tokens that may be used; beyond them training repeats. A number: in all, in the
    mixture's proportions. A mapping {source: tokens}: of these sources. null: all there are."""

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        total = sum(self.mixture.values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares of mixture sum to {total:g}; they must sum to 1")
        return self

    @model_validator(mode="after")
    def _limits_its_own_sources(self) -> Self:
        limited = self.unique_tokens if isinstance(self.unique_tokens, dict) else {}
        if strangers := [name for name in limited if name not in self.mixture]:
            raise ValueError(f"unique_tokens names {strangers[0]!r}, which is not in mixture")
        return self

    @property
    def strata(self) -> list[str]:
        """The strata of the token shards that it is trained on."""
        return [
            "kept",
            *([] if self.dedup else ["redundant"]),
            *([] if self.filter else ["filtered"]),
            *([] if self.dedup or self.filter else ["redundant_filtered"]),
        ]


class Dedup(Block):
    """Redundancy within and across sources; `mmseqs linclust` keeps one representative each."""

    min_seq_id: Share = 0.9
    """Sequences at least this identical are redundant (0.9 in UniRef90). Lower it only to study
    diversity: below 0.9 families shrink."""
    coverage: Share = 0.8
    """Both sequences must be aligned over at least this share of their length. Lower it to drop
    fragments."""


Sensitivity = Annotated[Number, Field(ge=1, le=9)]


class Homology(Block):
    """When a held-out sequence resembles one of training too much."""

    min_seq_id: Share = 0.5
    """Sequences at least this identical are homologues and stay on one side (0.5 in UniRef50).
    Above 0.5 the held-out loss measures memory."""
    coverage: Share = 0.8
    """Share of the held-out sequence that an alignment must cover to count."""


class LeakageCheck(Homology):
    """How hard the check looks for what the split has missed, and how much it may find."""

    check_sensitivity: Sensitivity = 7.5
    """`-s` of the check's search, not below the split's; 7.5 is MMseqs2's most sensitive."""
    max_leaked_fraction: Fraction = 0.02
    """Share of a held-out set (valid, ood, downstream) that the check may find covered by one
    training sequence; more stop the run. 0 allows none."""


class Clusters(Homology):
    """How clusters are made, and which shares of them are drawn for each split."""

    sensitivity: Sensitivity = 5.7
    """`-s` of the split's homology searches; higher finds more remote pairs and takes longer
    (MMseqs2's default is 5.7)."""
    purge: Literal["single", "cumulative"] = "cumulative"
    """Which held-out sequences are dropped. single: those that one training sequence covers.
    cumulative: also those that the alignments with several cover together, as fragments do."""
    clustering: Literal["linclust", "cluster"] = "linclust"
    """linclust: k-mer matching in linear time, with 80 k-mers a sequence. cluster: sensitive
    searches on top, several times as long, for sets up to some ten million sequences. The homology
    search drops what either missed."""
    valid_fraction: Share = 0.02
    """Share of the clusters that is held out for evaluation. A few million residues are enough: the
    homology search takes time in proportion to them (docs/scale.md)."""
    reference_fraction: Share = 0.05
    """Share of the clusters that trains the filter's reference model, and nothing else."""

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> Self:
        if self.valid_fraction + self.reference_fraction >= 1:
            raise ValueError("valid_fraction and reference_fraction leave nothing for training")
        return self


class Split(Clusters, LeakageCheck):
    """Training, held-out and reference sequences, split by cluster; a search drops held-out ones
    that a training sequence covers."""

    ood_after: Day | None = None
    """Families that only sources released after this date (YYYY-MM-DD) have are held out as an
    out-of-distribution set, and not trained on; null for none. Needs sources of several
    releases."""
    downstream: list[Name] | None = None
    """Test sets whose homologues are not trained on: sources, or {dataset}_tests of a benchmark.
    null: those of the benchmarks of structure in `downstream.datasets` when the data are made;
    benchmarks that are named later change no data, and scores.csv says what of them training has
    (`exposed`). [] for none."""

    @model_validator(mode="after")
    def _checks_no_less_than_it_purges(self) -> Self:
        if self.check_sensitivity < self.sensitivity:
            raise ValueError(
                "check_sensitivity is below sensitivity: the check would find nothing; raise it"
            )
        return self


class Reference(Block):
    """The model whose perplexity judges sequences."""

    model: str = "ngram"
    """Reference model of the perplexity: `ngram`, trained on the reference clusters, or the folder
    of a CLM, relative to the working directory: a finished run of one's own
    (results/{study}/runs/{cell}), an imported one, or a ProGen2."""
    reference_source: Annotated[Name, Follows("first source of the first corpus")]
    """Source whose reference clusters train the n-gram model: the one you trust most."""
    ngram_order: Annotated[int, Field(ge=1, le=5)] = 3
    """Order of the n-gram model. Above 3 it recognises homologues rather than proteins."""


class Thresholds(Block):
    """What is dropped, by the scores that sequences have."""

    min_length: Count = 30
    """Shorter sequences are dropped (residues): mostly fragments."""
    max_length: Count = 35000
    """Longer sequences are dropped (residues): mostly repeats and chimeras."""
    max_unknown_fraction: Fraction = 0.05
    """Sequences with a larger share of X, B, Z or J are dropped."""
    min_distinct_3mer_ratio: Fraction = 0.65
    """Sequences with a lower share of distinct 3-mers, counted in windows of 1,024 residues, are
    repeats or of few residues and dropped, which perplexity does not do. A random protein has
    about 0.9 or more at any length, one of which half is short repeats about 0.5."""
    perplexity_quantiles: Annotated[list[Fraction], Field(min_length=2, max_length=2)] = [
        0.01,
        0.99,
    ]
    """Training sequences below the first or above the second quantile of the perplexity in their
    source and length bin are dropped. A change re-runs neither deduplication nor scoring."""
    length_bins: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [
        0,
        100,
        200,
        400,
        800,
    ]
    """Lower edges (residues) of the length bins that have quantiles of their own; the perplexity of
    short sequences scatters more, and one threshold for all would drop mostly those."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_length > self.max_length:
            raise ValueError("min_length is above max_length")
        if self.perplexity_quantiles[0] >= self.perplexity_quantiles[1]:
            raise ValueError("perplexity_quantiles must be [low, high] with low < high")
        if self.length_bins[0] != 0 or self.length_bins != sorted(set(self.length_bins)):
            raise ValueError("length_bins must begin with 0 and rise")
        return self


class Filter(Thresholds, Reference):
    """Which sequences are trained on. A new threshold is applied to stored scores."""


class Tokens(Block):
    """Arrow shards of packed rows."""

    context_length: Annotated[int, Field(ge=16, le=LONGEST_ROW)] = 1024
    """Tokens per row, and the model's context (1024 in the study)."""
    shard_rows: Count = 1048576
    """Rows per shard file; a row takes context_length bytes (1048576 rows of 1024 are 1 GiB)."""
    start_token: bool = False
    """true: `<sop>` before each sequence tells models that it begins there, which the pieces of a
    protein longer than a row do not, and gives the first residue of a CLM a probability. It takes a
    place of the row, so a change makes the tokens again; losses then do not compare."""
