"""`plm-scaling figures`: the figures of a study in the style of a paper."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from plm_scaling.cli.options import Folder, Json, print_json, results_of


def figures(
    results: Path,
    /,
    *,
    out: Folder,
    style: Path | None = None,
    only: Annotated[list[str] | None, Parameter(consume_multiple=(1, None))] = None,
    json: Json = False,
) -> None:
    """The figures of a study again, from the tables beside them, in another style.

    Example: plm-scaling figures results/demo --style lab.mplstyle --out paper/figures

    Args:
        results: a results folder, its folder of figures, or the folder of a study
        out: folder of the figures: .svg, .pdf, .png and .csv of each
        style: matplotlib style sheet, whose lines replace those of the project's
        only: names of figures, such as isoflop (default: all that have a table)
    """
    from plm_scaling.figures.drawn import draw_again

    drawn = draw_again(results_of(results), out, style, only or ())
    if json:
        print_json([str(out / f"{name}.svg") for name in drawn])
    else:
        print("\n".join(str(out / f"{name}.svg") for name in drawn))
