"""What is given of a plan, as it is asked for and as numbers."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from plm_scaling.common.errors import LawError
from plm_scaling.common.progress import full_number
from plm_scaling.study.hardware import GPUS

PUBLISHED_LAWS = Path(__file__).parents[1] / "published/laws"
Amount = float | str
COMPUTE = "compute (flops, or gpus with days)"
EXAMPLES = {
    **{"utilisation": "0.4", "loss": "2.1", "days": "14", "flops": "1e21", "hours": "8"},
    **{"precision": "0.05", "budget": "5e21"},
}


@dataclass(frozen=True)
class Question:
    """What is given; a plan answers the rest. Amounts are numbers or words such as 6B."""

    objective: Literal["clm", "mlm", "both"] | None = None
    """clm, mlm, or both: two models of one size from one compute"""
    flops: Amount | None = None
    """compute to spend, such as 1e21: 6·N·D, and with --serve also what serving takes"""
    gpus: str = "8xH100"
    """what trains, such as 8xA100"""
    days: Amount | None = None
    """how long the GPUs train, instead of --flops"""
    utilisation: Amount | None = None
    """share of the GPUs' peak (MFU) that your runs reach; default: assumed by size"""
    params: Amount | None = None
    """non-embedding parameters, such as 6B: this size and no other"""
    tokens: Amount | None = None
    """training tokens, such as 300B: so many and no more"""
    loss: Amount | None = None
    """nats/token to reach, instead of compute"""
    serve: Amount | None = None
    """tokens to be served by the model: the size for least training and serving compute"""
    unique_tokens: Amount | None = None
    """tokens available; beyond, they repeat"""
    laws: Path | None = None
    """a law file, or a folder of them (default: the study's)"""


NOTHING = Question()


class Given(NamedTuple):
    """A `Question` in numbers: FLOPs, parameters, tokens, nats/token; None is not given."""

    flops: float | None = None
    n_params: float | None = None
    tokens: float | None = None
    loss: float | None = None
    served: float = 0.0
    unique_tokens: float = math.inf
    gpu: str = "H100"
    gpus: int = 1
    days: float | None = None
    utilisation: float | None = None


def given(question: Question) -> Given:
    """The question in numbers. Raises LawError for values that are none, and for contradictions."""
    flops, days = positive("flops", question.flops), positive("days", question.days)
    n, tokens = positive("params", question.params), positive("tokens", question.tokens)
    loss = positive("loss", question.loss)
    served = positive("serve", question.serve) or 0.0
    unique = positive("unique tokens", question.unique_tokens) or math.inf
    utilisation = positive("utilisation", question.utilisation)
    if utilisation is not None and utilisation > 1:
        raise LawError(f"utilisation is {utilisation:g}; give a share of the peak, such as 0.4")
    count, gpu = gpus_of(question.gpus)
    amounts = {COMPUTE: flops or days, "loss": loss, "params": n, "tokens": tokens}
    said = [name for name, value in amounts.items() if value is not None]
    if not said:
        raise LawError(f"nothing to plan from: give {COMPUTE}, loss, params or tokens")
    if len(said) > 2 or said == [COMPUTE, "loss"] or None not in (flops, days):
        both = ["flops", "days"] if None not in (flops, days) else said
        raise LawError(
            f"{', '.join(both[:-1])} and {both[-1]} cannot all be chosen: each follows from the "
            f"others; leave out {'one' if len(both) < 3 else 'all but two'}"
        )
    return Given(flops, n, tokens, loss, served, unique, gpu, count, days, utilisation)


def positive(name: str, value: Amount | None) -> float | None:
    """The number; None for None. Raises LawError where it is none above 0."""
    if value is None:
        return None
    try:
        number = full_number(str(value))
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        example = EXAMPLES.get(name, "300B or 6M")
        raise LawError(f"{name} is {value}; give a positive number such as {example}")
    return number


def gpus_of(text: str) -> tuple[int, str]:
    """'8xA100' → (8, 'A100'). Raises LawError for others than the known GPUs."""
    named = {name.upper(): name for name in GPUS}
    parts = re.fullmatch(r"(?:([1-9]\d*)x)?(.+)", text.strip())
    if parts is None or parts[2].upper() not in named:
        raise LawError(f"gpus is {text!r}; give a number and a name: 8x{', 8x'.join(GPUS)}")
    return int(parts[1] or 1), named[parts[2].upper()]
