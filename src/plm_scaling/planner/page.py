"""The plan as a page that stands alone: what the laws give as numbers, and a script that answers.

The script computes what `surface`, `repeats`, `solve` and `case` compute; a test compares the two.
"""

import json
import math
from pathlib import Path
from typing import Any

from plm_scaling.common.errors import LawError
from plm_scaling.common.files import atomic
from plm_scaling.config.sweep import Objective
from plm_scaling.planner.answer import Answer
from plm_scaling.planner.laws import ANY, Laws, find_laws
from plm_scaling.planner.question import PUBLISHED_LAWS, Question, given
from plm_scaling.planner.repeats import repeats_of
from plm_scaling.planner.training import RECIPE, exact_share
from plm_scaling.planner.trust import fitted_ratios, held_out, of_law
from plm_scaling.study.hardware import GPUS
from plm_scaling.study.shapes import STUDY_GRID

TEMPLATE = Path(__file__).with_name("page.html")
PLACE = "PLAN_DATA"
NAMES = {"clm": "CLM (causal)", "mlm": "MLM (masked)", ANY: "the law"}


def write_page(out: Path, question: Question, first: Answer) -> None:
    """Write the page, which begins with the `first` answer to the question.

    It holds the laws of both objectives where there are laws of both. Raises LawError if a law says
    nothing of runs off the optimum.
    """
    asked = given(question)
    start = {
        "objective": first.objective,
        "flops": first.flops.value,
        "unique_tokens": None if math.isinf(asked.unique_tokens) else asked.unique_tokens,
        "n_params": None
        if asked.n_params is None and asked.tokens is None and not asked.served
        else first.n_params.value,
        "gpu": asked.gpu,
        "utilisation": first.time.utilisation,
    }
    peaks = {name: gpu.peak_flops_per_second for name, gpu in GPUS.items()}
    laws = [_numbers(laws) for laws in _all_laws(question, first.objective)]
    data = json.dumps({"start": start, "gpus": peaks, "laws": laws}, allow_nan=False)
    with atomic(out) as temporary:
        page = TEMPLATE.read_text(encoding="utf-8").replace(PLACE, data.replace("<", "\\u003c"))
        temporary.write_text(page, encoding="utf-8")


def _all_laws(question: Question, objective: str) -> list[Laws]:
    """Of both objectives where the folder has them, else of the one that was asked for."""
    found = []
    for name in ("clm", "mlm") if objective != ANY else (ANY,):
        try:
            found.append(find_laws(question.laws or PUBLISHED_LAWS, name))
        except LawError:
            if name == objective:
                raise
    return found


def _numbers(laws: Laws) -> dict[str, Any]:
    """All that the page needs of the laws of an objective; what is unknown or endless is null."""
    surface, law, repeats = laws.surface, laws.optima, repeats_of(laws, 1.0)
    check = held_out(laws)
    kind: Objective = "mlm" if laws.objective == "mlm" else "clm"
    surface.alpha  # noqa: B018  raises LawError where only optima are known
    return {
        "objective": laws.objective,
        "name": NAMES[laws.objective],
        "law": f"{law.law} law of the {law.study} study",
        "status": law.status,
        "guesses": of_law(laws).guesses,
        "reach": check.factor if check is not None and check.passed else 1.0,
        "ratios": fitted_ratios(laws),
        "level": laws.level,
        "surface": {
            "log_k": surface.log_k,
            "a": surface.a,
            "exponents": surface.exponents,
            "floor": surface.loss.floor,
            "log_l": surface.loss.log_k,
            "c": surface.loss.exponent,
        },
        "fitted": laws.fitted,
        "rows": [
            {
                "flops": row["flops"],
                **{
                    name: row[f"{name}_interval"]
                    and [end / row[name] for end in row[f"{name}_interval"]]
                    for name in ("n_params", "loss")
                },
            }
            for row in law.details["frontier"]
        ],
        "draws": law.details.get("draws"),
        # R*_D, c and κ, as estimated and at the ends of the interval
        "repeats": [[r, 0.0, 1.0] for r in repeats.r_star]
        + [[None, c, kappa] for c, kappa in repeats.penalties],
        # exact compute over 6·N·D
        "shares": [
            [shape.n_params(RECIPE), exact_share(shape, kind)] for shape in STUDY_GRID.values()
        ],
        "most_epochs": None if math.isinf(repeats.most_epochs) else repeats.most_epochs,
    }
