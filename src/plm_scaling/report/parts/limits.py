"""What limits the laws of a study, in sentences, and the runs that no law used."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from plm_scaling.laws.result import LawResult
from plm_scaling.laws.status import Status
from plm_scaling.report.parts.cards import STATUS_WORDS, title
from plm_scaling.study.laws import BOTH
from plm_scaling.study.short_runs import short_runs

NUMBERS = re.compile(r" \((?=[^()]*\d)[^()]*\)")  # of one law, in a reason that others share
LITTLE_NATS, FREQUENCIES_NATS = 2.8, 2.9  # a loss that says little; what residues' shares give
NONE = "No check speaks against these laws, and every run is in one of them."


def limits(
    laws: Sequence[LawResult], runs: pd.DataFrame, reference: Mapping[str, Any] | None = None
) -> list[str]:
    """Why laws are not converged, how far the compute of the runs is below a published study
    (`reference`: authors, venue, smallest_budget_flops), and which runs are short or left out."""
    finished = runs[runs["status"] == "finished"]
    said = law_limits(laws)
    if reference and finished["flops"].max() < reference["smallest_budget_flops"] / 10:
        said.append(_scale(finished["flops"].max(), reference))
    if (lowest := finished["loss"].min()) > LITTLE_NATS:
        said.append(
            f"The lowest loss is {lowest:.3f} nats/token, and a model that knows only how common "
            f"each residue is has about {FREQUENCIES_NATS}: these models have learnt little else."
        )
    if short := short_runs(zip(finished["steps"], finished["warmup_steps"], strict=True)):
        said.append(f"{short[0].upper()}{short[1:]}.")
    if out := excluded_runs(laws, runs):
        reasons = Counter(why.partition(":")[0] for why in out.values()).most_common()
        why = ", ".join(f"{n} {reason}" for reason, n in reasons)
        said.append(f"{len(out)} of {len(runs)} runs are in no law of their objective: {why}.")
    return said or [NONE]


def law_limits(laws: Iterable[LawResult]) -> list[str]:
    """Why the laws that are not converged are not, those of one reason together."""
    alike: dict[tuple[Status, str], list[LawResult]] = {}
    for law in laws:
        if law.status != Status.CONVERGED:
            alike.setdefault((law.status, NUMBERS.sub("", law.reason)), []).append(law)
    return [_why(status, plain, of) for (status, plain), of in alike.items()]


def _why(status: Status, plain: str, laws: Sequence[LawResult]) -> str:
    if len(laws) == 1:
        return f"{title(laws[0])} is {STATUS_WORDS[status]}: {laws[0].reason}."
    names = [title(law) + "".join(NUMBERS.findall(law.reason)) for law in laws]
    return f"{', '.join(names[:-1])} and {names[-1]} are {STATUS_WORDS[status]}: {plain}."


def _scale(largest_flops: float, reference: Mapping[str, Any]) -> str:
    smallest = reference["smallest_budget_flops"]
    orders = round(math.log10(smallest / largest_flops))
    return (
        f"The largest run took {largest_flops:.1e} FLOPs, "
        f"{orders} order{'s' if orders > 1 else ''} of magnitude below the smallest budget "
        f"of {reference['authors'].split(',')[0]} et al., {reference['venue']} ({smallest:.0e}). "
        "The intervals cover the noise of these runs, not what changes over that range."
    )


def excluded_runs(laws: Sequence[LawResult], runs: pd.DataFrame) -> dict[str, str]:
    """Runs that no law of their objective used, with the first law's reason."""
    reasons = [(law.objective, {row["run_id"]: row["why"] for row in law.excluded}) for law in laws]
    excluded = {}
    for run, objective in zip(runs["run_id"], runs["objective"], strict=True):
        own = [why for of, why in reasons if of in (objective, BOTH)]
        if own and all(run in why for why in own):
            excluded[run] = own[0][run]
    return excluded
