"""Proposals as text for the terminal."""

import math

from plm_scaling.common.progress import short_number
from plm_scaling.config.machine import Machine
from plm_scaling.design.choose import Row, shown
from plm_scaling.design.family import Cost
from plm_scaling.design.propose import Proposal
from plm_scaling.design.request import Asked
from plm_scaling.design.simulate import Expected
from plm_scaling.laws.stats.intervals import percent
from plm_scaling.planner.surface import Surface

HEADINGS = ("", "cells", "budgets (FLOPs)", "sizes", "e^±", "seeds", "C=6ND")
TEXTS = (0, 2)  # to the left; numbers to the right


def proposal_text(proposal: Proposal, machine: Machine) -> str:
    """The curve of cost against precision, which design is taken, and what to know of it."""
    unit = unit_of(machine)
    lines = [f"{proposal.objective.upper()}:"]
    if proposal.prior and proposal.asked and proposal.chosen:
        prior, asked, chosen = proposal.prior, proposal.asked, proposal.chosen
        lines = [
            f"{proposal.objective.upper()}: {what(asked)}, about "
            f"{value_text(asked, prior.surface)} by {prior.name}"
        ]
        table: list[tuple[str, ...]] = [(*HEADINGS, unit, "95 % interval", "holds the truth")]
        table += [
            (
                "->" if row is chosen else "",
                *_cells(row),
                *_bought(row.design.cost, row.expected, asked),
            )
            for row in shown(list(proposal.rows), chosen)
        ]
        if proposal.own:
            own = ("", str(proposal.own_cells), "the config's sweep", "", "", "")
            table.append((*own, *_bought(*proposal.own, asked)))
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            cells = zip(row, widths, strict=True)
            texts = [f"{text:{'<' if i in TEXTS else '>'}{w}}" for i, (text, w) in enumerate(cells)]
            lines.append("  " + "  ".join(texts).rstrip())
    n_cells = sum(len(entry.sizes) * len(entry.seeds) for entry in proposal.entries)
    lines.append(
        f"  chosen: {n_cells} cells, {proposal.cost.flops:.3g} FLOPs (6·N·D), "
        f"{proposal.cost.hours:,.0f} {unit}"
    )
    return "\n".join([*lines, *(f"  note: {note}" for note in proposal.notes)])


def unit_of(machine: Machine) -> str:
    """Of the hours of all processes."""
    return f"{machine.gpu}-hours" if machine.backend == "cuda" else "process-hours"


def what(asked: Asked) -> str:
    """What is asked, as one says it."""
    return {
        "exponent": "exponent a of N_opt = k·C^a",
        "size-at": f"N_opt at {asked.flops or 0:.3g} FLOPs",
        "loss-at": f"lowest loss at {asked.flops or 0:.3g} FLOPs",
    }[asked.kind]


def value_text(asked: Asked, surface: Surface) -> str:
    """What the prior says."""
    if asked.kind == "exponent":
        return f"{surface.a:.2f}"
    if asked.kind == "size-at":
        return short_number(float(surface.size(asked.flops or 1)))
    return f"{float(surface.loss(asked.flops or 1)):.3f} nats/token"


def width_text(asked: Asked, half_width: float) -> str:
    """The half-width of the interval; a size is known to within a factor."""
    if not math.isfinite(half_width):
        return "none"
    if asked.kind == "size-at":
        return f"within a factor of {math.exp(half_width):.2f}"
    return f"±{half_width:.3f}" if asked.kind == "exponent" else f"±{half_width:.4f} nats"


def _cells(row: Row) -> tuple[str, ...]:
    design = row.design
    ends = f"{len(design.budgets)}: {design.budgets[0]:.3g} to {design.budgets[-1]:.3g}"
    return (
        str(design.n_cells),
        ends,
        "-".join(dict.fromkeys(map(str, design.counts))),
        f"{design.reach:g}",
        str(design.seeds),
    )


def _bought(cost: Cost, expected: Expected, asked: Asked) -> tuple[str, ...]:
    return (
        f"{cost.flops:.2g}",
        f"{cost.hours:,.0f}",
        width_text(asked, expected.half_width),
        percent(round(expected.coverage, 2)),
    )
