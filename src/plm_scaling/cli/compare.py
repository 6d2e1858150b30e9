"""`plm-scaling compare`: two studies, or two filters, side by side."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from plm_scaling.cli.options import Json, ends_in, print_json, results_of


def compare(
    one: Path,
    other: Path,
    /,
    *,
    html: Annotated[Path | None, Parameter(validator=ends_in(".html"))] = None,
    json: Json = False,
) -> None:
    """What differs between two studies: config, sequences kept, tokens, laws and losses.

    Example: plm-scaling compare results/demo results/strict --html strict.html

    Args:
        one: a results folder, the folder of a study, or a folder of data (data/NAME), of which
            config, laws and losses are not compared
        other: another one
        html: also write it as a page
    """
    from plm_scaling.report.compare import compare_studies, comparison_text, write_comparison

    found = compare_studies(results_of(one), results_of(other))
    if html is not None:
        write_comparison(html, found)
    if json:
        print_json(found.to_json())
    else:
        print(comparison_text(found))
