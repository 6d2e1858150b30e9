"""Config blocks of the data path: corpus, dedup, split, filter, tokens."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from plm_scaling.config.numbers import Block, Count, Fraction, Name, Number, Share


class Mmseqs(Block):
    """Which MMseqs2 runs. Versions give different clusters in some modes, so one is pinned."""

    path: str
    """`auto` (conda environment if active, else the binary that `make install` brought, else
    `mmseqs` on PATH) or the path of a binary of MMseqs2 18."""


class Corpus(Block):
    """What is trained on."""

    name: Name
    """Folder under `data/`."""
    sources: Name | str
    """Source table: a tab-separated file, relative to the repository."""
    mixture: Annotated[dict[Name, Share], Field(min_length=1)]
    """Share of each source (a name in the source table) in an epoch's tokens; they sum to 1."""

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        total = sum(self.mixture.values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares of mixture sum to {total:g}; they must sum to 1")
        return self


class Dedup(Block):
    """Redundancy within and across sources; `mmseqs linclust` keeps one representative each."""

    min_seq_id: Share
    """Sequences at least this identical are redundant (0.9 in UniRef90)."""
    coverage: Share
    """Both sequences must be aligned over at least this share of their length."""


class Split(Block):
    """Training, held-out and reference sequences, split by cluster: no homologues across."""

    min_seq_id: Share
    """Sequences at least this identical are homologues and stay on one side (0.5 in UniRef50)."""
    coverage: Share
    """Share of the held-out sequence that an alignment must cover to count."""
    valid_fraction: Share
    """Share of the clusters that is held out for evaluation."""
    reference_fraction: Share
    """Share of the clusters that trains the filter's reference model, and nothing else."""
    sensitivity: Annotated[Number, Field(ge=1, le=9)]
    """`-s` of the homology searches; higher finds more remote pairs and takes longer (MMseqs2's
    default is 5.7)."""


class Filter(Block):
    """Which sequences are trained on. A new threshold is applied to stored scores."""

    reference_source: Name
    """Source whose reference clusters train the n-gram model."""
    ngram_order: Annotated[int, Field(ge=1, le=5)]
    """Order of the n-gram model. Above 3 it recognises homologues rather than proteins."""
    min_length: Count
    """Shorter sequences are dropped (residues)."""
    max_length: Count
    """Longer sequences are dropped (residues)."""
    max_unknown_fraction: Fraction
    """Sequences with a larger share of X, B, Z or J are dropped."""
    min_distinct_3mer_ratio: Fraction
    """Sequences with fewer distinct 3-mers per residue are low-complexity and dropped; perplexity
    does not catch them."""
    perplexity_quantiles: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    """Training sequences below the first or above the second quantile of their source's perplexity
    are dropped."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_length > self.max_length:
            raise ValueError("min_length is above max_length")
        if self.perplexity_quantiles[0] >= self.perplexity_quantiles[1]:
            raise ValueError("perplexity_quantiles must be [low, high] with low < high")
        return self


class Tokens(Block):
    """Arrow shards of packed rows."""

    context_length: Annotated[int, Field(ge=16)]
    """Tokens per row, and the model's context (1024 in the study)."""
    shard_rows: Count
    """Rows per shard file; a row takes context_length bytes."""
