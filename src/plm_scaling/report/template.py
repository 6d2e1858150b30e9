"""Pages from templates, which may extend those beside this module, and the figures in them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from plm_scaling.report.svg import inline_svg


def render(template: Path, **values: Any) -> str:
    """The page that `template` makes of `values`; text in them is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["formulas"] = _formulas
    return environment.get_template(template.name).render(**values)


def _formulas(sentence: str) -> Markup:
    """N_opt and C^0.52 with real sub- and superscripts."""
    text = re.sub(r"\b([NDL])_opt\b", r"\1<sub>opt</sub>", str(escape(sentence)))
    return Markup(re.sub(r"\bC\^(-?[\d.]*\d)", r"C<sup>\1</sup>", text))


def inline_figures(
    folder: Path, captions: Mapping[str, str], names: Sequence[str]
) -> dict[str, str]:
    """Inline SVG by name of those `names` that `folder` holds."""
    found = [name for name in names if (folder / f"{name}.svg").is_file()]
    return {name: inline_svg(folder / f"{name}.svg", captions[name]) for name in found}
