"""What the files hold, and how many tokens they may give for training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plm_scaling.common.errors import SourceError
from plm_scaling.config.load import validate_config
from plm_scaling.filter.rules import KEPT
from plm_scaling.preflight.cost import Cost
from plm_scaling.preflight.kinds import FORMATS
from plm_scaling.preflight.survey import FileSurvey, survey
from plm_scaling.sources.local_files import files_of
from plm_scaling.sources.table import own_source

HELD_OUT = 6.3e6  # residues: twice the 3 M tokens on which the study evaluates, as some are purged
REFERENCE = 4e6  # residues: enough for the probabilities of 8,000 3-mers
LEAST, MOST = 4e-5, 0.1  # shares held out
CLUSTERED = 3e6  # sequences up to which sensitive clustering takes minutes to hours
PART = 1e9  # residues of a part
TAIL = 0.02  # that the quantiles of the perplexity drop


@dataclass(frozen=True)
class Proteins:
    """All files together, as one set."""

    paths: tuple[Path, ...]
    """As given, absolute."""
    files: int
    """That they are."""
    sequences: int
    """Usable records."""
    residues: int
    median: int
    """Length, residues; of the largest file."""
    kept: int
    """Records that pass the filter's rules and are not those of another record."""
    kept_residues: float
    cost: Cost
    """Of the path to token shards."""
    beside: float = 0.0
    """Tokens of a source that is mixed in."""

    @property
    def valid_fraction(self) -> float:
        """Share of the clusters to hold out."""
        return _share(HELD_OUT / (self.kept_residues + self.beside))

    @property
    def reference_fraction(self) -> float:
        """Share of the clusters that train the filter's model: those of what is mixed in, if
        there is that."""
        return _share(REFERENCE / (self.beside or self.kept_residues))

    @property
    def tokens(self) -> float:
        """For training, at most: as if clustering found nothing redundant. A residue is a token,
        and one ends each sequence."""
        trained = 1 - self.valid_fraction - self.reference_fraction
        return (self.kept_residues + self.kept) * trained * (1 - TAIL)

    @property
    def unique(self) -> float:
        """The same with what is mixed in."""
        return self.tokens + self.beside

    @property
    def held_out(self) -> float:
        """Tokens held out, before homologues of training are dropped."""
        return (self.kept_residues + self.kept + self.beside) * self.valid_fraction

    @property
    def clustering(self) -> dict[str, str]:
        """The key of the block `split`, where it is not the default."""
        few = self.sequences <= CLUSTERED and not self.beside
        return {"clustering": "cluster"} if few else {}

    @property
    def parts(self) -> int:
        """A power of two, about one per billion residues."""
        parts = 1
        while parts * PART < self.residues + self.beside and parts < 4096:
            parts *= 2
        return parts


def look_at(name: str, paths: Sequence[Path]) -> Proteins:
    """Read the files whole, in constant memory: those that a study reads as its source `name`, by
    the rules that it has.

    Raises `SourceError` naming the first file that cannot be used, and what to do.
    """
    absolute = tuple(path.absolute() for path in paths)
    own = {"path": [str(path) for path in absolute]}
    rules = validate_config({"study": name, "corpora": {name: own}}, "init")
    source = own_source(name, own)
    found = survey(
        files_of(source),
        rules.filter,
        rules.data.max_rejected_fraction,
        rules.split.valid_fraction,
    )
    for one in found.files:
        if one.problems:
            more = f"`plm-scaling data check {one.path}` says more"
            raise SourceError(f"{one.path}: {one.problems[0]} ({more})")
        if FORMATS.get(one.format, "fasta") != source.format:
            raise SourceError(
                f"{one.path}: {one.format} by its content, but {source.format} by its name; rename "
                "it, or name it with its format in data.sources of a config of your own "
                "(docs/sources.md)"
            )
    copies = [one.exact_copies + one.sequences_of_another_id for one in found.files]
    kept = [
        _kept_share(one) * (one.usable - again)
        for one, again in zip(found.files, copies, strict=True)
    ]
    lengths = [one.residues / one.usable for one in found.files]
    return Proteins(
        absolute,
        len(found.files),
        sum(one.usable for one in found.files),
        sum(one.residues for one in found.files),
        max(found.files, key=lambda one: one.usable).median,
        int(sum(kept)),
        sum(n * length for n, length in zip(kept, lengths, strict=True)),
        found.cost,
    )


def _kept_share(one: FileSurvey) -> float:
    return one.verdicts.get(KEPT, 0) / one.usable


def _share(wanted: float) -> float:
    """To two digits."""
    return float(f"{min(MOST, max(LEAST, wanted)):.2g}")
