"""The words by which a law file says how something stands, and what a status is decided from."""

from enum import StrEnum

from typing_extensions import TypedDict


class Status(StrEnum):
    """How far a law is determined by its runs, from best to worst (`laws.verdict`)."""

    CONVERGED = "converged"
    TWO_POINTS = "two_points"
    """A slope without a residual."""
    AT_BOUND = "at_bound"
    """A parameter ended at its bound."""
    CONTRADICTED = "contradicted"
    """A check contradicts the law: a held-out prediction, or another law of the same runs."""
    NOT_IDENTIFIED = "not_identified"
    """The runs do not determine the law; parameters may be None."""


class Limit(TypedDict):
    """What was measured (a noun phrase), its size, and the largest that agrees with the law."""

    what: str
    value: float
    allowed: float
    unit: str


class Evidence(TypedDict, total=False):
    """What a fit knows of itself besides its numbers; `laws.verdict` makes a status of it."""

    points: int
    """Different points of a line: one determines none, two leave no residual."""
    undetermined: list[str]
    """Sentences: why the runs do not determine the law."""
    at_bound: list[str]
    """Sentences: parameters that ended at their bounds, which is a result of its own."""
    failed: float
    """The share of the resamples that gave no value."""
    misfit: Limit
    """How far the runs lie from the law."""
    held_out: Limit
    """The error of a held-out prediction."""
    contradictions: list[str]
    """Sentences: what else speaks against the law."""


class Check(StrEnum):
    """Whether a check of a law was made."""

    DONE = "done"
    NOT_AVAILABLE = "not_available"


class Minimum(StrEnum):
    """Whether a parabola has a minimum that is used, and if not why."""

    ACCEPTED = "accepted"
    TOO_FEW_SIZES = "too_few_sizes"
    """There is no fit."""
    NO_MINIMUM = "no_minimum"
    """It does not open upwards."""
    EDGE = "edge"
    """Its vertex lies outside the sizes of the window."""
    UNSTABLE = "unstable"
    """Its vertex lies inside, but noise would often move it outside."""
    OUTSIDE_RATIOS = "no minimum inside the ratios"
    OUTSIDE_RATES = "no minimum inside the rates"
    OUTSIDE_BATCHES = "no minimum inside the batches"


class RowVerdict(StrEnum):
    """What a row of parameters is to the misfit of a set of runs."""

    GLOBAL = "global_optimum"
    LOCAL = "local_optimum"
    NONE = "no_optimum"


class Basis(StrEnum):
    """What of its runs the repeated law is fitted to."""

    END_POINTS = "end points"
    CURVES = "curves"
