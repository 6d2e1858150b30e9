"""What is asked of a design, as it is said and in numbers."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from plm_scaling.common.errors import SweepError
from plm_scaling.common.progress import full_number
from plm_scaling.planner.question import Amount, gpus_of, positive

NO_LAW = "none"
Kind = Literal["exponent", "size-at", "loss-at"]


class Asked(NamedTuple):
    """What a sweep is to answer: the exponent a of N_opt = k·C^a, or ln N_opt or the lowest loss
    (nats/token) at `flops`."""

    kind: Kind
    flops: float | None = None


@dataclass(frozen=True)
class Request:
    """What is asked. Without a precision or a limit: as narrow as the config's own sweep."""

    question: str = "exponent"
    """exponent (a of N_opt = k·C^a), size-at=FLOPS (N_opt there) or loss-at=FLOPS (lowest loss)"""
    objective: Literal["clm", "mlm"] | None = None
    """clm or mlm (default: each of the config, with an equal share of the limit)"""
    precision: Amount | None = None
    """half-width of the 95 % interval: of a, of ln N (0.1: 10 %), or in nats/token"""
    budget: Amount | None = None
    """FLOPs of all objectives together (6·N·D), such as 5e21; transferred and extra cells on top"""
    gpus: str | None = None
    """what trains, such as 8xH100 (default: that of the config), with --days"""
    days: Amount | None = None
    """how long the GPUs train, instead of --budget; transferred and extra cells come on top"""
    laws: Path | None = None
    """what is known before: a law file, or a folder of them (default: the study's), or none"""
    runs: Path | None = None
    """instead of --laws: a table of finished runs (runs.csv), to which the law isoflop is fitted"""
    config: Path | None = None
    """whose sizes, budgets, training and machine are taken (default: the full study)"""


AS_NARROW = Request()


class Limits(NamedTuple):
    """In numbers; None is not given."""

    asked: Asked
    half_width: float | None
    flops: float | None
    gpus: tuple[int, str] | None
    days: float | None


def limits_of(request: Request) -> Limits:
    """Raises `SweepError` for what cannot be read or contradicts itself, LawError for amounts that
    are none."""
    half_width = positive("precision", request.precision)
    flops, days = positive("budget", request.budget), positive("days", request.days)
    gpus = None if request.gpus is None else gpus_of(request.gpus)
    if sum(value is not None for value in (half_width, flops, days)) > 1:
        raise SweepError("give one of --precision, --budget and --days: each sets the others")
    if days is not None and gpus is None:
        raise SweepError("--days says nothing without GPUs; give --gpus too, such as 8xH100")
    if str(request.laws) == NO_LAW and (half_width or flops or days):
        raise SweepError(
            "--laws none proposes a first stage, whatever it costs; leave out --precision, "
            "--budget and --days"
        )
    if request.laws is not None and request.runs is not None:
        raise SweepError("--laws and --runs both say what is known before; give one")
    return Limits(_asked(request.question), half_width, flops, gpus, days)


def _asked(text: str) -> Asked:
    kind, _, amount = text.replace(" ", "=").partition("=")
    try:
        flops = full_number(amount) if amount else None
    except ValueError:
        flops = -1.0
    known = kind in get_args(Kind) and (kind == "exponent") == (flops is None)
    if not known or not 0 < (flops or 1) < math.inf:
        raise SweepError(
            f"question is {text!r}; give exponent, size-at=FLOPS or loss-at=FLOPS, such as "
            "size-at=1e22"
        )
    return Asked(cast(Kind, kind), flops)
