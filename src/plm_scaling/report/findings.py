"""The findings of a study, in sentences made from the intervals of its laws."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plm_scaling.laws.result import LawResult
from plm_scaling.laws.stats.intervals import Overlap, overlap, percent
from plm_scaling.laws.status import Check, Minimum, Status
from plm_scaling.laws.verdict import WIDE
from plm_scaling.report.tables import STATUS_WORDS

FEW_MINIMA = 3


@dataclass(frozen=True)
class Finding:
    """One sentence of an objective ('' for all); not `sound`: the numbers must not be used."""

    objective: str
    sound: bool
    sentence: str
    notes: list[str]


def find(
    laws: Sequence[LawResult],
    largest_flops: float = math.nan,
    reference: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """One finding per objective with an IsoFLOP or parametric law, in alphabetical order.

    `largest_flops` is the compute of the largest run, compared with the smallest budget of
    `reference` (authors, venue, smallest_budget_flops).
    """
    findings = []
    for objective in sorted({law.objective for law in laws}):
        own = {law.law: law for law in laws if law.objective == objective}
        main = own.get("isoflop") or own.get("parametric")
        if main is None:
            continue
        sound, sentence = exponent(main)
        notes = [note for note in (_agreement(own), _held_out(main)) if note]
        findings.append(Finding(objective, sound, sentence, notes))
    if findings and reference and largest_flops < reference["smallest_budget_flops"] / 10:
        findings[0].notes.append(_scale(largest_flops, reference))
    return findings


def exponent(law: LawResult) -> tuple[bool, str]:
    """Whether the exponent of N can be used, and the finding in one sentence."""
    equation = law.equations["N"]
    a, interval = equation.parameters["a"], equation.interval["a"]
    minima = law.details.get("minima")
    basis = f"{law.n_points} runs"
    enough = True
    if minima is not None:
        tried = [row for row in minima if row["status"] != Minimum.TOO_FEW_SIZES] or minima
        used = sum(row["status"] == Minimum.ACCEPTED for row in tried)
        basis = f"{used} of {len(tried)} IsoFLOP budgets with a minimum"
        enough = used >= FEW_MINIMA
    if a is None:
        return False, f"These runs give no exponent: {basis}, too few for a power law."
    value = f"N_opt grows as C^{a:.2f}"
    if interval is None:
        return False, (
            f"{value} from {basis}, but these runs give no interval for it (see the warnings), so "
            "the number cannot be trusted."
        )
    low, high = interval
    spread = f"{percent(equation.level)} confidence interval {low:.2f} to {high:.2f}"
    if high - low > 2 * WIDE:
        return False, (
            f"The exponent is not identified: {value} from {basis}, with a {spread}, so ten times "
            f"the compute could call for a model {_times(low)} to {_times(high)} as large."
        )
    if not enough:
        return False, (
            f"{value} ({spread}), but from {basis}: a line through so few points cannot show "
            "whether a power law holds."
        )
    if law.status == Status.NOT_IDENTIFIED:
        return False, f"The exponent is not identified ({value} from {basis}): {law.reason}."
    sentence = (
        f"{value} ({spread}) from {basis}: ten times the compute calls for a model "
        f"{_times(a)} as large ({_times(low)} to {_times(high)}) and {_times(1 - a)} the tokens."
    )
    if law.status == Status.CONVERGED:
        return True, sentence
    return False, f"{sentence} {STATUS_WORDS[law.status].capitalize()}: {law.reason}."


def _times(exponent: float) -> str:
    """10^exponent as a factor: '3.3×'."""
    factor = 10**exponent
    return f"{factor:.1f}×" if 0.1 <= factor < 100 else f"{factor:.0e}×"


def _agreement(own: dict[str, LawResult]) -> str:
    """How the parametric law's allocation compares with the IsoFLOP one."""
    if not {"isoflop", "parametric"} <= set(own):
        return ""
    one, other = (own[name].equations["N"] for name in ("isoflop", "parametric"))
    value, interval = other.parameters["a"], other.interval["a"]
    if value is None or own["parametric"].status == Status.NOT_IDENTIFIED:
        return "The parametric law does not determine the exponent; see the warnings."
    if one.interval["a"] is None or interval is None:
        return (
            f"The parametric law gives {value:.2f}; without intervals the two cannot be compared."
        )
    verdict = overlap(one.interval["a"], interval)
    return (
        f"The parametric law gives {value:.2f} ({interval[0]:.2f} to {interval[1]:.2f}); its "
        f"interval {verdict} that of the IsoFLOP fit."
    )


def _held_out(law: LawResult) -> str:
    check = law.details.get("held_out", {})
    if check.get("status") != Check.DONE or "n_params" not in check:
        return ""
    ratio, off = check["n_params"]["ratio"], check["loss"]["difference"]
    return (
        f"Held-out prediction of the largest budget: the optimal size is {ratio:.2f} times "
        f"the one found, the loss {abs(off):.3f} nats too {'high' if off > 0 else 'low'}."
    )


def _scale(largest_flops: float, reference: Mapping[str, Any]) -> str:
    smallest = reference["smallest_budget_flops"]
    return (
        f"The largest run took {largest_flops:.1e} FLOPs, "
        f"{math.log10(smallest / largest_flops):.0f} orders of magnitude below the smallest budget "
        f"of {reference['authors'].split(',')[0]} et al., {reference['venue']} ({smallest:.0e}). "
        "The intervals cover the noise of these runs, not what changes over that range."
    )


def comparison(laws: Sequence[LawResult]) -> str:
    """Whether the IsoFLOP exponents of CLM and MLM can be told apart; '' if there are not two."""
    intervals = {
        law.objective: law.equations["N"].interval["a"] for law in laws if law.law == "isoflop"
    }
    clm, mlm = intervals.get("clm"), intervals.get("mlm")
    if clm is None or mlm is None:
        return ""
    if overlap(clm, mlm) != Overlap.APART:
        how = "overlap" if overlap(clm, mlm) == Overlap.OVERLAPS else "touch"
        return f"The intervals of CLM and MLM {how}: these runs do not tell the objectives apart."
    higher = "MLM" if mlm[0] > clm[1] else "CLM"
    return (
        f"The intervals of CLM and MLM do not overlap: {higher} puts more of any added compute "
        "into model size."
    )
