"""The tables of a law of repeated tokens, in both its forms."""

from enum import StrEnum
from typing import Literal

from typing_extensions import TypedDict

from plm_scaling.laws.details import Bootstrap, HeldOutRuns, NotAvailable
from plm_scaling.laws.status import Basis, Status


class FormName(StrEnum):
    """What repeats do to the loss."""

    WORTH = "worth"
    """They are worth less than fresh tokens: D' and N'."""
    PENALTY = "penalty"
    """They add to the loss of as many fresh tokens: c·R^κ."""


OpenInterval = tuple[float | None, float | None]


class WorthRow(TypedDict):
    """D' in units of U after so many epochs."""

    epochs: float
    effective_over_unique: float


class Misfit(TypedDict):
    """Root mean squares of the repeated runs and of the fresh ones around the base law, and the
    largest misfit at which runs pass for following the form; nats."""

    residual_rms_nats: float
    fresh_scatter_nats: float | None
    largest_misfit_nats: float


class FormRow(TypedDict):
    """A form with its own parameters at the least misfit (R_D and R_N in repetitions, c in nats; at
    a limit of what is scanned they mean none), the rms over repeated runs, nats, and Akaike's
    criterion."""

    form: FormName
    parameters: dict[str, float]
    rms_nats: float
    aic: float


class CommonDetails(TypedDict):
    """The tables of both kinds of fit: `form`, which the equations hold, is chosen of `forms`; an
    end of an open interval is None. Nothing is known beyond `epochs_range`."""

    form: FormName
    forms: list[FormRow]
    epochs_range: list[float]
    open_intervals: dict[str, OpenInterval | None]
    worth: list[WorthRow]
    bootstrap: Bootstrap


class EndPointDetails(CommonDetails, Misfit):
    """The tables of a law fitted to end points; whether its base law was given, and how many of
    its runs repeat tokens."""

    kind: Literal[Basis.END_POINTS]
    base_given: bool
    n_repeated_runs: int
    held_out: HeldOutRuns | NotAvailable


class OffsetRow(TypedDict):
    """R* of least misfit (None at a limit) and its rms for one choice of the offset."""

    offset_from: str
    offset_nats: float
    least_misfit_R_D: float | None
    rms_nats: float
    rms_smoothed_nats: float


class ReferenceRow(TypedDict):
    """L_N(D) = E + B/D^beta of one size, fitted to so many fresh runs."""

    n_runs: int
    E: float
    B: float
    beta: float


class ExcessRow(TypedDict):
    """The additive term fitted to one curve; its rms in nats."""

    form: str
    c: float
    kappa: float
    rms_nats: float


class GapRow(TypedDict):
    """Mean epochs and mean loss above fresh tokens (nats) of a stretch of the curve."""

    epochs: float
    gap_nats: float


class SizeRow(TypedDict):
    """What one curve says; `why` it does not follow the form, or empty. R_D and intervals in
    repetitions, an open end None; block lengths in evaluations, by window of the offset."""

    run_id: str
    fresh_run_id: str
    n_params: float
    unique_tokens: float
    epochs: float
    status: Status
    why: str
    R_D: float | None
    interval: OpenInterval | None
    offset_nats: float
    offset_sensitivity: list[OffsetRow]
    rms_nats: float
    rms_smoothed_nats: float
    evaluation_noise_nats: float
    block_lengths: dict[str, int]
    effective_over_unique_at_end: float | None
    effective_over_unique_from_final_loss: float | None
    reference: ReferenceRow
    excess: ExcessRow
    gaps: list[GapRow]


class JointOffsetRow(TypedDict):
    """The joint R* with the offset of one window."""

    offset_from: str
    R_D: float | None
    rms_nats: float
    rms_smoothed_nats: float


class Joint(TypedDict):
    """One R* for all curves that follow the form; None without any."""

    run_ids: list[str]
    R_D: float | None
    interval: OpenInterval | None
    rms_nats: float | None
    rms_smoothed_nats: float | None
    by_offset: list[JointOffsetRow]


class PredictedEnd(TypedDict):
    """R* from the first half of a curve, and predicted − measured loss at its end, nats."""

    run_id: str
    fitted_until_epochs: float
    least_misfit_R_D: float | None
    error_at_end_nats: float


class HeldOutEnds(HeldOutRuns):
    """The end of each curve predicted."""

    curves: list[PredictedEnd]


class CurveDetails(CommonDetails):
    """The tables of a law fitted to curves."""

    kind: Literal[Basis.CURVES]
    sizes: list[SizeRow]
    joint: Joint
    reference_noise_nats: float
    held_out: HeldOutEnds


Details = EndPointDetails | CurveDetails
