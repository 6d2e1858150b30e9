"""The figure of a plan: lines of equal loss, the optima and the answer."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.figures.plan import LINES, draw_plan, plan_figure
from plm_scaling.planner import Question
from plm_scaling.planner.answer import case_of
from plm_scaling.planner.question import PUBLISHED_LAWS


def test_lines_of_equal_loss_have_their_tips_at_the_optima():
    case = case_of(Question(objective="clm", loss=2.3))
    (ax,) = plan_figure(case).axes
    (contours,) = [c for c in ax.collections if hasattr(c, "levels")]
    for level, path in zip(contours.levels, contours.get_paths(), strict=True):
        tip = path.vertices[path.vertices[:, 0].argmin()]
        flops = float(case.laws.surface.loss.inverse(level))
        assert tip[0] == pytest.approx(flops, rel=0.05)
        assert tip[1] == pytest.approx(case.laws.size(flops).value, rel=0.35)
    (dot,) = [line for line in ax.lines if line.get_marker() == "o"]
    assert dot.get_xydata()[0] == pytest.approx([case.run.flops, case.run.n_params])
    assert np.log(ax.get_xlim()[1] / case.run.flops) > 1


def test_every_line_is_there_and_has_its_loss_at_its_end_in_its_colour():
    few = Question(objective="clm", flops=1e22, unique_tokens=1e9)  # low losses are out of reach
    figure = plan_figure(case_of(few))
    (ax,) = figure.axes
    (contours,) = [c for c in ax.collections if hasattr(c, "levels")]
    figure.canvas.draw()
    lines = {
        f"{level:.2f}": (path.vertices, to_hex(colour))
        for level, path, colour in zip(
            contours.levels, contours.get_paths(), contours.get_edgecolor(), strict=True
        )
    }
    assert len({colour for _, colour in lines.values()}) == len(ax.texts) == LINES
    for label in ax.texts:
        line, colour = lines[label.get_text()]
        assert label.get_color() == colour
        at_edge = line[np.isclose(line[:, 0], ax.get_xlim()[1], rtol=1e-6)]
        assert label.xy[1] == pytest.approx(at_edge[:, 1].min(), rel=0.05)


def test_the_line_of_the_optima_is_of_the_unique_tokens_and_goes_through_the_plan():
    few = Question(objective="clm", flops=1e21, unique_tokens=2e9)
    case = case_of(few)
    figure = plan_figure(case)
    (ax,) = figure.axes
    whole, solid, *_ = ax.lines
    flops, sizes = whole.get_data()
    n = np.exp(np.interp(np.log(case.run.flops), np.log(flops), np.log(sizes)))
    assert n == pytest.approx(case.run.n_params, rel=0.01)
    assert n > 1.2 * case.laws.size(case.run.flops).value
    epochs = flops / (6 * sizes) / few.unique_tokens
    assert epochs[~np.isnan(solid.get_ydata())].max() <= case.repeats.most_epochs < epochs.max()
    assert "for 2B unique tokens" in figure.legends[0].get_texts()[0].get_text()


def test_law_of_only_optima_has_no_lines(tmp_path):
    question = Question(laws=PUBLISHED_LAWS / "clm.frontier.json", flops=1e20)
    (ax,) = plan_figure(case_of(question)).axes
    assert not [c for c in ax.collections if hasattr(c, "levels")]
    draw_plan(question, tmp_path / "plan.svg")
    assert (tmp_path / "plan.svg").read_text().startswith("<?xml")


def test_other_files_and_both_objectives_are_refused(tmp_path):
    with pytest.raises(PlmScalingError, match="a figure is a svg, pdf, png file"):
        draw_plan(Question(objective="clm", flops=1e20), tmp_path / "plan.gif")
    with pytest.raises(PlmScalingError, match="one objective"):
        draw_plan(Question(objective="both", flops=1e20), tmp_path / "plan.png")
