"""The words by which a law file says how something stands."""

from enum import StrEnum


class Status(StrEnum):
    """How far a law is determined by its runs."""

    CONVERGED = "converged"
    TWO_POINTS = "two_points"
    """A slope without a residual."""
    AT_BOUND = "at_bound"
    """A parameter ended at its bound."""
    NOT_IDENTIFIED = "not_identified"
    """The runs do not determine the law; parameters may be None."""


def of_points(n: int) -> Status:
    """Of a line through `n` different points."""
    if n < 2:
        return Status.NOT_IDENTIFIED
    return Status.TWO_POINTS if n == 2 else Status.CONVERGED


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


class RowVerdict(StrEnum):
    """What a row of parameters is to the misfit of a set of runs."""

    GLOBAL = "global_optimum"
    LOCAL = "local_optimum"
    NONE = "no_optimum"


class Basis(StrEnum):
    """What of its runs the repeated law is fitted to."""

    END_POINTS = "end points"
    CURVES = "curves"
