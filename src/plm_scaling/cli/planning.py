"""`plm-scaling plan` and `design`: what to train, and which cells teach it."""

import os
import sys
from pathlib import Path
from shlex import join
from typing import Annotated

from cyclopts import Parameter

from plm_scaling.cli.options import Json, ends_in, print_json
from plm_scaling.design.request import AS_NARROW, Request
from plm_scaling.planner.question import NOTHING, Question

FIGURES = (".svg", ".pdf", ".png")


def plan(
    *,
    question: Annotated[Question, Parameter(name="*")] = NOTHING,
    json: Json = False,
    plot: Annotated[Path | None, Parameter(validator=ends_in(*FIGURES))] = None,
    html: Annotated[Path | None, Parameter(validator=ends_in(".html"))] = None,
) -> None:
    """What to train: with some GPUs and days, with a compute, to a size, a loss, with few tokens.

    Example: plm-scaling plan --objective clm --gpus 8xA100 --days 14 --unique-tokens 5B

    Args:
        plot: also draw it over lines of equal loss (.svg, .pdf or .png)
        html: also a page on which compute, data, size and objective are moved by hand
    """
    from plm_scaling.planner import answer
    from plm_scaling.planner.both import plan_both
    from plm_scaling.planner.text import answer_text

    both = question.objective == "both"
    answers = plan_both(question) if both else (answer.plan(question),)
    if plot is not None:
        from plm_scaling.figures.plan import draw_plan

        draw_plan(question, plot)
    if html is not None:
        from plm_scaling.planner.page import write_page

        write_page(html, question, answers[0])
    if json:
        facts = {one.objective: one.to_json() for one in answers}
        print_json(facts if both else facts[answers[0].objective])
    else:
        print("\n\n".join(map(answer_text, answers)))


def design(
    *,
    request: Annotated[Request, Parameter(name="*")] = AS_NARROW,
    json: Json = False,
    out: Annotated[Path | None, Parameter(validator=ends_in(".yaml", ".yml"))] = None,
) -> None:
    """Which cells to train: what a sweep is expected to teach, by simulation, and what it costs.

    Example: plm-scaling design --objective clm --gpus 8xH100 --days 30 --out my.yaml

    Args:
        out: also write the config with this sweep (YAML), a study of the file's name
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # its matrices are small: more threads only wait
    from plm_scaling.config.load import FULL_STUDY
    from plm_scaling.design.block import designed_sweep, sweep_text, write_designed
    from plm_scaling.design.propose import facts, propose
    from plm_scaling.design.text import proposal_text

    config, machine, proposals = propose(request)
    keys = designed_sweep(config.sweep, {one.objective: one.entries for one in proposals})
    if out is not None:
        made = f"Made by `plm-scaling {join(sys.argv[1:])}`."
        write_designed(request.config or FULL_STUDY, out, keys, made)
    if json:
        print_json([facts(one) for one in proposals])
        return
    print("\n\n".join(proposal_text(one, machine) for one in proposals))
    print(f"\nwritten: {out}" if out else f"\nsweep:\n{sweep_text(keys)}", end="\n" if out else "")
