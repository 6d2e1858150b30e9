"""The whole config of a study."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from plm_scaling.config.data import MAX_SOURCES, Corpus, Data, Dedup, Filter, Mmseqs, Split, Tokens
from plm_scaling.config.derived import completed
from plm_scaling.config.downstream import Downstream
from plm_scaling.config.machine import Machine
from plm_scaling.config.numbers import Block, Count, Name, Positive
from plm_scaling.config.sweep import Sweep, check_axis
from plm_scaling.config.training import Training
from plm_scaling.study.laws import LAWS, Axes
from plm_scaling.study.shapes import SHAPES

LAWS_SAID = " ".join(
    [
        *(f"{name}: {law.about}." for name, law in LAWS.items()),
        "See docs/laws.md for the cells that each needs.",
    ]
)


class Runs(Block):
    """How a run's curve becomes its loss."""

    final_evaluations: Count = 5
    """The loss of a run is the mean of this many last evaluations (5 in the study)."""


class Laws(Block):
    """Which laws are fitted, and how."""

    fits: Annotated[
        list[Literal[tuple(LAWS)]],  # type: ignore[valid-type]
        Field(min_length=1, description=LAWS_SAID),
    ] = ["isoflop", "parametric"]
    bootstrap: Annotated[int, Field(ge=100)] = 4000
    """Resamples of the runs for intervals; 4000 for ends that hardly move with the seed."""
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Coverage of the intervals."""
    huber_delta: Positive = 1e-3
    """Huber δ on the log loss of the parametric fit (1e-3 in Hoffmann et al. 2022)."""
    axes: Axes = "best"
    """Of runs that differ only in settings of sweep.axes: best, the laws take those of the setting
    with the lowest loss (mean over its seeds), or all. Of mask ratios most laws take the most
    common one all the same: losses at several do not compare."""


DOWNLOAD = "download"


class Published(Block):
    """The logs that the study released; only the target `published` reads them."""

    logs: str | None = None
    """Null takes the tables of the logs that ship with this repository. Folder of the released
    repository (it holds `data/training_logs`), relative to this one, or `download` (6 MB): every
    file is verified, the tables are reproduced and compared with those that ship."""


class SweepInputs(Block):
    """What the cells of a sweep follow from, and nothing else."""

    seed: Count = 1
    """Seeds the split, the data order and the bootstrap; sweep.seeds those of the cells'
    weights."""
    corpora: Annotated[dict[Name, Corpus], Field(min_length=1)]
    tokens: Tokens = Tokens()
    sweep: Sweep
    training: Training

    @model_validator(mode="after")
    def _cells_name_known_corpora(self) -> Self:
        single = [*self.sweep.extra, *self.sweep.transfer]
        named = [*self.sweep.corpora, *(cell.corpus for cell in single)]
        if strangers := [name for name in named if name not in self.corpora]:
            raise ValueError(
                f"sweep: unknown corpus {strangers[0]!r}; corpora has {', '.join(self.corpora)}"
            )
        return self

    @model_validator(mode="after")
    def _axes_hold_what_training_has(self) -> Self:
        decays = self.sweep.axes.get("weight_decay")
        check_axis("weight_decay", decays, self.training.weight_decay)
        return self

    @model_validator(mode="after")
    def _mup_is_for_prenorm(self) -> Self:
        single = [*self.sweep.extra, *self.sweep.transfer]
        if self.training.mup and "study" in [*self.sweep.recipes, *(c.recipe for c in single)]:
            raise ValueError(
                "training.mup is for recipe prenorm, and the sweep has recipe study, whose initial "
                "weights and residual scale are given; train study in a config with mup: null"
            )
        return self

    @model_validator(mode="after")
    def _every_objective_has_a_rate(self) -> Self:
        trained = {*self.sweep.objectives, *(extra.objective for extra in self.sweep.extra)}
        if self.sweep.transfer:
            trained |= {"clm", "mlm"}
        for objective in sorted(trained):
            if objective not in self.training.peak_learning_rate:
                raise ValueError(f"training.peak_learning_rate has no entry for {objective}")
        return self


class Config(SweepInputs):
    """A study: what is computed, and on what machine it is trained. How the other jobs are run
    (cores, memory, partitions) is in profiles/."""

    study: Name
    """Results go to results/{study}/. Another name keeps two studies side by side."""
    mmseqs: Mmseqs = Mmseqs()
    data: Data
    dedup: Dedup = Dedup()
    split: Split = Split()
    filter: Filter
    machine: Machine = Machine()
    runs: Runs = Runs()
    laws: Laws = Laws()
    downstream: Downstream = Downstream()
    published: Published = Published()

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, values: Any) -> Any:
        return completed(values) if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _study_is_not_the_published_one(self) -> Self:
        if self.study == "published":
            raise ValueError("study 'published' is the study's own logs; choose another name")
        return self

    @model_validator(mode="after")
    def _sources_can_be_numbered(self) -> Self:
        if len(self.sources) > MAX_SOURCES:
            raise ValueError(
                f"corpora: {len(self.sources)} sources, at most {MAX_SOURCES} are possible; make "
                "files that belong together one source (a folder or a pattern as its path)"
            )
        return self

    @model_validator(mode="after")
    def _reference_is_a_source(self) -> Self:
        if self.filter.reference_source not in self.sources:
            raise ValueError(
                f"filter.reference_source {self.filter.reference_source!r} is in no mixture; give "
                f"one of {', '.join(self.sources)}"
            )
        return self

    @model_validator(mode="after")
    def _layouts_are_of_known_sizes(self) -> Self:
        known = [*self.sweep.shapes, *SHAPES]
        if strangers := [size for size in self.machine.layouts if size not in known]:
            raise ValueError(
                f"machine.layouts: unknown size {strangers[0]!r}; there are {', '.join(known)}"
            )
        return self

    @model_validator(mode="after")
    def _transfer_law_has_cells(self) -> Self:
        needing = [law for law in self.laws.fits if LAWS[law].needs_transfer]
        if needing and not self.sweep.transfer:
            raise ValueError(
                f"laws.fits: {needing[0]} needs cells in sweep.transfer; add some, or give "
                "laws.fits without it"
            )
        return self

    @model_validator(mode="after")
    def _tuning_law_has_cells(self) -> Self:
        if "tuning" in self.laws.fits and not self.sweep.tuning:
            raise ValueError("laws.fits: tuning needs cells in sweep.tuning")
        return self

    @property
    def sources(self) -> list[str]:
        """All sources of the corpora, in the order in which they are first named. The first one
        that has a sequence owns it."""
        named = [name for corpus in self.corpora.values() for name in corpus.mixture]
        return list(dict.fromkeys(named))
