"""A plan among the lines of equal loss: the optima of each compute, and the answer."""

from pathlib import Path

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.common.files import atomic
from plm_scaling.common.progress import short_number
from plm_scaling.figures.parts.axes import SIZE_LABEL, compute_axis, log_axis, panels
from plm_scaling.figures.parts.labels import Label, end_labels, legend_below
from plm_scaling.figures.parts.style import CANVASES, GREY, objective_colour, png_dpi, shades, style
from plm_scaling.planner.answer import case_of
from plm_scaling.planner.case import Case
from plm_scaling.planner.laws import Estimate
from plm_scaling.planner.question import Question
from plm_scaling.planner.solve import equivalent, solve

GRID = 160
LINES = 10
BEYOND = 3.0  # how far the axes go beyond what is shown
SPAN = 8.0  # of sizes around the optimum


def draw_plan(question: Question, out: Path) -> None:
    """Write the figure. Raises PlmScalingError unless the file is a .svg, .pdf or .png."""
    kind = out.suffix.lower().removeprefix(".")
    if kind not in CANVASES:
        raise PlmScalingError(f"{out}: a figure is a {', '.join(CANVASES)} file; name one")
    if question.objective == "both":
        raise PlmScalingError("a figure shows one objective; give --objective clm or mlm")
    with style():
        figure = plan_figure(case_of(question))
        figure.set_dpi(png_dpi())
        with atomic(out) as temporary:
            getattr(CANVASES[kind](figure), f"print_{kind}")(temporary)


def plan_figure(case: Case) -> Figure:
    """Lines of equal loss over compute and size (none where the law holds only optima), the optimal
    size for the unique tokens there are with its interval, dashed beyond the budgets and epochs
    fitted, and the answer."""
    laws, run = case.laws, case.run
    figure, (ax,) = panels(1, height=2.9)
    labels: list[Label] = []
    low, high = laws.fitted
    flops = np.geomspace(min(low, run.flops) / BEYOND, max(high, run.flops) * BEYOND, GRID)
    sizes = [_best_size(case, c) for c in flops]
    optimal = np.array([size.value for size in sizes])
    again = flops / (6 * optimal) > case.repeats.unique
    bottom, top = min(optimal.min(), run.n_params) / SPAN, max(optimal.max(), run.n_params) * SPAN
    if not np.isnan(laws.surface.exponents):
        c, n = np.meshgrid(flops, np.geomspace(bottom, top, GRID))
        worth = equivalent(laws.surface, case.repeats, n, c / (6 * n))  # less where tokens repeat
        loss = laws.surface.loss(worth)
        at = np.geomspace(worth.max(), worth[:, 0].max(), LINES + 2)[1:-1]
        levels = laws.surface.loss(at)
        lines = ax.contour(c, n, loss, levels, cmap=shades().reversed(), linewidths=0.7)
        below = loss[:, -1].argmin() + 1  # at the right edge, up to the lowest loss there
        ends = np.interp(-levels, -loss[:below, -1], n[:below, -1], left=np.nan, right=np.nan)
        colours = np.asarray(lines.get_edgecolor())
        labels = [
            (float(flops[-1]), float(end), f"{level:.2f}", to_hex(shade))
            for level, end, shade in zip(levels, ends, colours, strict=True)
            if not np.isnan(end)
        ]
    colour = objective_colour(laws.objective)
    if all(size.interval for size in sizes):
        ends = np.array([size.interval for size in sizes])
        ax.fill_between(flops, ends[:, 0], ends[:, 1], color=colour, alpha=0.15, linewidth=0)
    fitted = (flops >= low) & (flops <= high)
    fitted &= flops / (6 * optimal) <= case.repeats.most_epochs * case.repeats.unique
    of = f" for {short_number(case.repeats.unique)} unique tokens" if again.any() else ""
    ax.plot(flops, optimal, "--", color=colour)
    solid = np.where(fitted, optimal, np.nan)
    ax.plot(flops, solid, color=colour, label=f"optimum{of} (dashed: extrapolated)")
    size, _, spent = case.estimates()
    if spent.interval is not None:
        ends = np.minimum(spent.interval, flops[-1])
        ax.plot(ends, (size.value, size.value), color="black")
    if size.interval is not None:
        ax.plot((spent.value, spent.value), np.minimum(size.interval, top), color="black")
    ax.plot(spent.value, size.value, "o", color="black", label="plan, with its intervals")
    ax.set_ylim(bottom, top)
    ax.set_xlim(flops[0], flops[-1])
    compute_axis(ax)
    log_axis(ax, "y")
    ax.set_ylabel(SIZE_LABEL)
    ax.set_title(f"{laws.objective.upper()}: lines of equal loss (nats/token)", color=GREY)
    end_labels(ax, labels)
    legend_below(figure, ax.get_legend_handles_labels()[0])
    return figure


def _best_size(case: Case, flops: float) -> Estimate:
    """The size of lowest loss for a training compute, larger than that for fresh tokens where these
    would not be enough; the interval is as wide as that of the optimum of equal loss."""
    if np.isnan(case.laws.surface.exponents):
        return case.laws.size(flops)
    run = solve(case.laws.surface, case.repeats, flops)
    fresh = case.laws.size(float(equivalent(case.laws.surface, case.repeats, *run)))
    move = run.n_params / fresh.value
    interval = fresh.interval and (move * fresh.interval[0], move * fresh.interval[1])
    return Estimate(run.n_params, interval)
