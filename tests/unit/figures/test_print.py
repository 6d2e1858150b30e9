"""What print asks of the figures: widths, letters, colours, text, and the style of one's paper."""

import re
from importlib import import_module
from itertools import combinations, pairwise
from unittest import mock

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image
from quick_figures import only_svg, without_pdf

from plm_scaling.cheng2024.ur50_unimeta import ur50_unimeta
from plm_scaling.common.errors import PlmScalingError
from plm_scaling.figures.drawn import MODULES, draw_again
from plm_scaling.figures.laws.frontier import frontier, frontier_table
from plm_scaling.figures.laws.isoflop import isoflop
from plm_scaling.figures.laws.loss_contours import loss_contours
from plm_scaling.figures.laws.mask_ratio import mask_ratio, mask_ratio_table
from plm_scaling.figures.laws.parametric import parametric
from plm_scaling.figures.parts.axes import compute_axis, panels
from plm_scaling.figures.parts.labels import CHARACTER, GAP, MARK, end_labels, point_labels
from plm_scaling.figures.parts.style import (
    FADED,
    OBJECTIVES,
    colour,
    objective_colour,
    save,
    style,
)
from plm_scaling.laws.result import read_law
from plm_scaling.planner.question import PUBLISHED_LAWS

LAB = """figure.figsize: 3, 2
font.family: DejaVu Serif
font.size: 8
axes.prop_cycle: cycler(color=["112233", "445566", "778899"])
"""


@pytest.fixture(scope="module")
def folder(arguments):
    """The figures of a study of two objectives, with their tables."""
    return arguments["out"]


@pytest.fixture(scope="module")
def tables(folder):
    return {path.stem: pd.read_csv(path) for path in folder.glob("*.csv")}


@pytest.fixture(autouse=True)
def in_style():
    with style():
        yield


def draw(name):
    """The function that draws a figure."""
    return getattr(import_module(f"plm_scaling.{MODULES[name]}"), name)


def letters(figure):
    return [ax.get_title(loc="left") for ax in figure.axes]


@pytest.fixture(scope="module")
def again(folder, tmp_path_factory):
    """All figures, drawn again from their tables: a folder, and the figures by name."""
    out, figures = tmp_path_factory.mktemp("again"), {}

    def keep(figure, table, stem):
        save(figure, table, stem)
        figures[stem.name] = figure

    with only_svg(), mock.patch("plm_scaling.figures.drawn.save", keep):
        assert draw_again(folder.parent, out, None) == list(figures)
    return out, figures


def test_figures_drawn_again_from_their_tables_are_the_same(folder, again):
    """As SVG, which holds all numbers that are drawn."""
    new, figures = again
    assert sorted(figures) == sorted(path.stem for path in folder.glob("*.csv"))
    for name in figures:
        drawn, first = (place / f"{name}.svg" for place in (new, folder))
        assert drawn.read_bytes() == first.read_bytes(), name


def test_text_is_text_and_numbers_have_real_minus_signs(folder):
    svg = (folder / "parametric.svg").read_text()
    texts = re.findall(r"<text [^>]*>([^<]*)<", svg)
    assert "measured above fitted (%)" in texts
    assert any(text.startswith("\N{MINUS SIGN}") for text in texts)
    assert not [text for text in texts if re.match(r"-\d", text)]


def test_tick_labels_do_not_overlap(again):
    for name, figure in again[1].items():
        figure.draw_without_rendering()
        for ax in figure.axes:
            for axis in (ax.xaxis, ax.yaxis):
                low, high = sorted(axis.get_view_interval())
                ticks = [t for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
                shown = [t.label1 for t in ticks if t.label1.get_visible()]
                boxes = [label.get_window_extent() for label in shown if label.get_text()]
                for one, other in pairwise(boxes):
                    assert not one.overlaps(other), name


def test_panels_have_letters_and_one_panel_has_none():
    assert letters(panels(2, 2)[0]) == ["a", "b", "c", "d"]
    assert letters(panels(1)[0]) == [""]


def test_an_objective_has_one_colour_in_every_figure(tables):
    lines = frontier(tables["frontier"]).axes
    for ax, objective in zip(lines, ("clm", "clm", "mlm", "mlm"), strict=True):
        assert {line.get_color() for line in ax.lines} == {objective_colour(objective)}
    dots = {
        line.get_label(): line.get_color()
        for line in parametric(tables["parametric"]).axes[0].lines[1:]
    }
    assert dots == {objective.upper(): objective_colour(objective) for objective in OBJECTIVES}


def test_a_budget_has_one_colour_in_both_panels_and_one_nat_one_length(tables):
    clm, mlm = isoflop(tables["isoflop"]).axes
    labels = [{text.get_text(): text.get_color() for text in ax.texts} for ax in (clm, mlm)]
    assert labels[0] == labels[1]
    assert len(set(labels[0].values())) == 3
    spans = [high - low for low, high in (ax.get_ylim() for ax in (clm, mlm))]
    assert spans[0] == pytest.approx(spans[1])
    assert clm.get_xlim() == mlm.get_xlim()


def test_contours_have_their_losses_written_on_them(tables):
    ax = loss_contours(tables["loss_contours"]).axes[0]
    (lines,) = [c for c in ax.collections if hasattr(c, "levels")]
    written = {float(text.get_text()) for text in ax.texts}
    assert len(written) > 2
    assert written <= {round(float(level), 2) for level in lines.levels}


def test_a_law_that_is_not_identified_is_pale(tables):
    table = tables["frontier"]
    unsure = table.assign(status=table["status"].where(table["law"] != "isoflop", "not_identified"))
    for drawn, pale in ((table.assign(status="converged"), set()), (unsure, {FADED})):
        solid = [line for line in frontier(drawn).axes[0].lines if line.get_linestyle() == "-"]
        assert {line.get_alpha() for line in solid} - {None, 1.0} == pale


def test_the_largest_runs_of_the_study_are_marked_beyond_the_minima():
    laws = [read_law(PUBLISHED_LAWS / f"{objective}.isoflop.json") for objective in OBJECTIVES]
    table = frontier_table(laws)
    largest = table[table["kind"] == "largest"].set_index("objective")
    assert (largest["n_params"] / 1e9).round(1).to_dict() == {"clm": 7.2, "mlm": 10.7}
    texts = [text.get_text() for ax in frontier(table).axes for text in ax.texts]
    assert texts == ["7.25B", "7.25B", "10.7B", "10.7B"]


def test_mask_ratio_curves_touch_zero_at_their_minimum():
    table = mask_ratio_table([read_law(PUBLISHED_LAWS / "mlm.mask_ratio.json")])
    curves = table[table["kind"] == "curve"]
    assert curves["above_minimum"].min() >= 0
    runs = table[table["kind"] == "run"]
    assert (runs["loss"] - runs["above_minimum"]).groupby(runs["n_params"]).nunique().eq(1).all()


def test_marks_of_two_sizes_at_one_place_are_both_seen():
    rows = [(n, ratio) for n in (1e6, 1e7) for ratio in (0.1, 0.2)]
    table = pd.DataFrame(rows, columns=["n_params", "mask_ratio"])
    table = table.assign(kind="run", tokens=1e9, above_minimum=0.1, within_noise=False)
    below, above, _ = mask_ratio(table).axes[0].collections
    assert below.get_sizes() > 2 * above.get_sizes()


def test_orders_of_repeated_data_have_dashes_of_their_own(tmp_path):
    names = ("mlm-2.8B-3e21-a1", "mlm-2.8B-ur50-3e21-a2", "mlm-2.8B-ur50-full-shuffle-3e21-a3")
    rows = [(name, "ur50" in name, tokens) for name in names for tokens in (1e9, 2e9)]
    table = pd.DataFrame(rows, columns=["run_id", "repeated", "tokens"])
    table["corpus"] = table["repeated"].map({True: "ur50", False: "unimeta"})
    facts = {"n_params": 3e9, "unique_tokens": 1e9, "loss": 2.0, "epochs": 1.0}
    figure = ur50_unimeta(table.assign(objective="mlm", **facts))
    figure.savefig(tmp_path / "figure.svg")
    svg = (tmp_path / "figure.svg").read_text()
    dashes = set(re.findall(r"stroke-dasharray: [\d., ]+", svg))
    assert len(dashes) == 2 * 2  # the legend's lines are thicker, and their dashes longer
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[-2:] == ["repeated (ur50)", "repeated, full shuffle (ur50)"]


def test_labels_of_neighbouring_ends_do_not_overlap():
    figure, (ax,) = panels(1)
    ax.set(xlim=(0, 2), ylim=(0, 1))
    end_labels(ax, [(1, y, f"C{y}", "black") for y in (0.5, 0.505, 0.51)])
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in ax.texts]  # without the line to its end
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))
    assert [text.arrow_patch is not None for text in ax.texts] == [False, False, True]  # far off


def test_names_of_points_cover_no_other_name_and_no_point():
    figure, (ax,) = panels(1)
    points = [(x, 0.5 + 0.01 * i) for i, x in enumerate((0.1, 0.5, 0.52, 0.54, 0.97))]
    ax.plot(*zip(*points, strict=True), "o")
    figure.draw_without_rendering()
    point_labels(ax, [(*place, "a model", "black") for place in points], fontsize=5)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert not any(box.contains(*ax.transData.transform(p)) for box in boxes for p in points)
    assert all(ax.get_window_extent().x0 < box.x0 < box.x1 < figure.bbox.x1 for box in boxes)


def test_names_side_by_side_are_a_character_apart():
    """The second name is left of its point, as there is one to the right; if that of the first were
    right of its own, a point of print would be between them."""
    figure, (ax,) = panels(1)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    figure.draw_without_rendering()
    texts = ("6.4B", "1.21B")
    wide = sum(map(len, texts)) * CHARACTER * mpl.rcParams["legend.fontsize"]
    points = np.cumsum([40, wide + 2 * (MARK + GAP) + 1, 8])  # from the left of the axes
    xs = points / 72 * figure.dpi / ax.get_window_extent().width
    labels = [(x, 0.5, text, "black") for x, text in zip(xs, texts, strict=False)]
    point_labels(ax, labels, [(xs[2], 0.5)])
    figure.draw_without_rendering()
    first, second = (text.get_window_extent() for text in ax.texts)
    assert not first.padded(3).overlaps(second)


def test_a_panel_without_data_leaves_the_ticks_of_those_that_share_its_axes():
    figure, axes = panels(1, 2, sharex=True)
    axes[0].plot([1e12, 1e15], [2, 1])
    for ax in axes:
        compute_axis(ax)
    figure.draw_without_rendering()
    assert [ax.get_xscale() for ax in axes] == ["log", "log"]
    assert all(len(ax.get_xticks()) > 2 for ax in axes)


def test_labels_of_lines_are_where_no_run_is(tables):
    ax = loss_contours(tables["loss_contours"]).axes[0]
    table = tables["loss_contours"]
    runs = table[(table["kind"] == "run") & (table["objective"] == "clm")]
    dots = ax.transData.transform(runs[["flops", "n_params"]])
    places = ax.transData.transform([text.get_position() for text in ax.texts])
    assert len(places) > 3
    apart = np.linalg.norm(dots[:, None] - places[None], axis=2)
    assert apart.min() > 0.7 * mpl.rcParams["font.size"]


def test_no_text_is_cut_off_and_legends_fit(tables, again):
    """Of one objective, in one column, where there is least room."""
    for name, figure in again[1].items():
        table = tables[name]
        if "objective" in table:
            figure = draw(name)(table[table["objective"] == "clm"])
        assert cut_off(figure) == [], name


def cut_off(figure):
    """Texts of a figure that go on beyond it."""
    figure.draw_without_rendering()
    left_out = beyond(figure)
    texts = [t for t in figure.findobj(Text) if t.get_visible() and id(t) not in left_out]
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text()]
    assert boxes
    return [text for text, box in boxes if not inside(box, figure.bbox.padded(1))]


def inside(box, frame):
    return all(frame.contains(*corner) for corner in box.corners())


def beyond(figure):
    """Ticks beyond the limits of their axes, which are not drawn."""
    return {
        id(label)
        for ax in figure.axes
        for labels, which, ends in (
            (ax.get_xticklabels(), 0, ax.get_xlim()),
            (ax.get_yticklabels(), 1, ax.get_ylim()),
        )
        for label in labels
        if not min(ends) <= label.get_position()[which] <= max(ends)
    }


def test_a_style_of_ones_own_sets_widths_fonts_and_colours(folder, tables, tmp_path):
    sheet = tmp_path / "lab.mplstyle"
    sheet.write_text(LAB)
    with style(sheet):
        assert cut_off(isoflop(tables["isoflop"])) == []
    with without_pdf():
        assert draw_again(folder, tmp_path / "out", sheet, ["parametric"]) == ["parametric"]
    with Image.open(tmp_path / "out/parametric.png") as image:
        assert image.width == (2 * 3 + 0.2) * 300
    svg = (tmp_path / "out/parametric.svg").read_text()
    assert "#112233" in svg
    assert "#445566" in svg
    assert "DejaVu Serif" in svg
    assert colour(0) not in svg


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("# nothing", "sets nothing"),
        ("font.size 8", "Missing colon in line 1"),
        ("font.sizee: 8", "Bad key font.sizee in line 1"),
        ("font.size: big", "Bad value in line 1 .*Could not convert 'big'"),
        ("font.family: Nosuch", "none of the fonts Nosuch is installed"),
        ("image.cmap: nosuch", "image.cmap: no colour map"),
        ("axes.prop_cycle: cycler(linestyle=['-'])", "axes.prop_cycle has no colours"),
        ("text.usetex: True", "text.usetex: labels are no LaTeX"),
        ("savefig.dpi: -3", "savefig.dpi must be above 0"),
        ("figure.dpi: 0", "figure.dpi and savefig.dpi must be above 0"),
        ("font.size: 0", "font.size must be at least 1 point"),
        ("legend.fontsize: -2", "legend.fontsize must be at least 1 point"),
        ("xtick.labelsize: 0.5", "xtick.labelsize must be at least 1 point"),
    ],
)
def test_a_fault_of_a_style_sheet_is_said_in_one_line(line, said, tmp_path, caplog):
    sheet = tmp_path / "lab.mplstyle"
    sheet.write_text(f"{line}\n")
    with pytest.raises(PlmScalingError, match=f"lab.mplstyle: .*{said}") as refused, style(sheet):
        pass
    assert "\n" not in str(refused.value)
    assert not caplog.records


def test_what_cannot_be_drawn_again_is_said_in_one_line(folder, tmp_path):
    with pytest.raises(PlmScalingError, match=r"absent.mplstyle: no matplotlib style sheet"):
        draw_again(folder, tmp_path, tmp_path / "absent.mplstyle", ["isoflop"])
    with pytest.raises(PlmScalingError, match="no table of tuning, but of isoflop"):
        draw_again(folder, tmp_path, None, ["tuning"])
    with pytest.raises(PlmScalingError, match="no tables of figures"):
        draw_again(tmp_path, tmp_path, None)
    pd.read_csv(folder / "isoflop.csv").drop(columns="kind").to_csv(tmp_path / "isoflop.csv")
    with pytest.raises(PlmScalingError, match=r"isoflop.csv: no column 'kind'; an earlier version"):
        draw_again(tmp_path, tmp_path, None)
