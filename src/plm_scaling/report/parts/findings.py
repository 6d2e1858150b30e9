"""The findings of a study, in sentences made from the intervals of its laws."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from plm_scaling.common.errors import LawError
from plm_scaling.common.progress import short_number
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.stats.intervals import Overlap, overlap, percent
from plm_scaling.laws.status import Minimum, Status
from plm_scaling.laws.verdict import WIDE
from plm_scaling.planner.laws import Estimate, Laws
from plm_scaling.planner.trust import how_sure
from plm_scaling.report.parts.cards import STATUS_WORDS, name_of

FEW_MINIMA = 3


@dataclass(frozen=True)
class Finding:
    """One sentence of an objective ('' for all); not `sound`: the numbers must not be used."""

    objective: str
    sound: bool
    sentence: str
    notes: list[str]
    train: str = ""
    """What to train, if the finding says so; then the sentence says why."""
    sure: str = ""
    """What that rests on, and what checks it."""


def find(laws: Sequence[LawResult]) -> list[Finding]:
    """One finding per objective with an IsoFLOP or parametric law, in alphabetical order."""
    findings = []
    for objective in sorted({law.objective for law in laws}):
        own = {law.law: law for law in laws if law.objective == objective}
        main = own.get("isoflop") or own.get("parametric")
        if main is None:
            continue
        sound, sentence = exponent(main)
        notes = [note for note in [_agreement(own)] if note]
        findings.append(Finding(objective, sound, sentence, notes, *what_to_train(main, sound)))
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
        return False, f"These runs do not say what to train: {basis}, too few for a law of size."
    value = f"N_opt grows as C^{a:.2f}"
    if interval is None:
        return False, (
            f"{value} from {basis}, but these runs give no interval for it (its card, under "
            "Laws, says why), so the number cannot be trusted."
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
        return "The parametric law does not determine the exponent; its card, under Laws, says why."
    if one.interval["a"] is None or interval is None:
        return (
            f"The parametric law gives {value:.2f}; without intervals the two cannot be compared."
        )
    verdict = overlap(one.interval["a"], interval)
    return (
        f"The parametric law gives {value:.2f} ({interval[0]:.2f} to {interval[1]:.2f}); its "
        f"interval {verdict} that of the IsoFLOP fit."
    )


def what_to_train(law: LawResult, sound: bool) -> tuple[str, str]:
    """The best run of the largest budget that was fitted, and how sure that is; '' for a law that
    has no optimum."""
    if not law.details.get("frontier"):
        return "", ""
    laws = Laws(law.objective, Path(), law, {})
    try:
        flops = laws.fitted[1]
        size, loss = laws.size(flops), laws.optimal_loss(flops)
    except LawError:
        return "", ""
    tokens = Estimate(
        flops / (6 * size.value),
        size.interval and (flops / (6 * size.interval[1]), flops / (6 * size.interval[0])),
    )
    train = (
        f"{'With' if sound else 'A guess: with'} {flops:.2g} FLOPs, the largest budget of the law, "
        f"train {_estimate(size, short_number)} parameters on {_estimate(tokens, short_number)} "
        f"tokens; expect a loss of {_estimate(loss, '{:.3f}'.format)} nats/token."
    )
    sure = how_sure(laws).removesuffix(f"; {law.reason}")  # the page says it of all laws
    said = f"{name_of(law.law)}{sure.removeprefix(law.law)}."
    return train, f"{said[0].upper()}{said[1:]}"


def _estimate(estimate: Estimate, form: Callable[[float], str]) -> str:
    """'1.71B (1.40B to 2.10B)', or without an interval the value alone."""
    ends = estimate.interval
    spread = f" ({form(ends[0])} to {form(ends[1])})" if ends else ""
    return form(estimate.value) + spread


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
