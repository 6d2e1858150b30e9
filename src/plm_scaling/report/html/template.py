"""Pages from templates, which may extend those in this folder, with their figures and cells."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup, escape

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.common.files import atomic
from plm_scaling.report.html.glossary import abbreviated, glossary

if TYPE_CHECKING:  # pages without figures of their own do not wait for matplotlib
    from matplotlib.figure import Figure

logger = logging.getLogger("plm_scaling")

_ID = re.compile(r'\bid="([^"]+)"')
_WIDTH = re.compile(r'\bwidth="([\d.]+)pt"')
COLUMN_POINTS = 360  # 5 inches: between one column of print and two
_REFERENCE = re.compile(r'(xlink:href="#|href="#|url\(#)')


def write_page(out: Path, template: Path, **values: Any) -> None:
    """Write the page that `template` makes of `values`, whose text is escaped; log its path."""
    with atomic(out) as temporary:
        temporary.write_text(render(template, **values), encoding="utf-8")
    logger.info("[report] %s", out)


def render(template: Path, **values: Any) -> str:
    """The page that `template` makes of `values`, whose text is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "formulas": formulas,
        "glossary": glossary,
        "abbreviated": abbreviated,
    }
    return environment.get_template(template.name).render(**values)


_CODE = re.compile(r"(<code>.*?</code>)", re.DOTALL)
_GREEK = {"alpha": "α", "beta": "β", "kappa": "κ"}
_LETTER = re.compile(  # where it stands for a parameter: the word alone may name a corpus
    r"(?:(?<=\^)|(?<=interval of )|(?<=alpha and )|(?<=alpha, )|(?<=\bc and )|(?<=\bc, )"
    r"|^(?=\w+$))(?:alpha|beta|kappa)\b"
    r"|\b(?:alpha|beta|kappa)(?= ?=| ended at\b)|\balpha(?= and beta\b|, beta\b)"
)
_SUBSCRIPT = re.compile(
    r"\b(?=(?:[NDLR]_opt|C_sum|C_[cm]lm|R\*?_[ND]|D_[tf]|U_N|[ND]_eff|L_N|L_best|[LS]_peak)\b)"
    r"([A-Z]\*?)_([A-Za-z]+)"
)
_POWER = re.compile(r"\^(-?\d[\d.]*\d|-?\w)(?!\w)")
_SCIENTIFIC = re.compile(r"(?<![\w.-])(\d(?:\.\d+)?)e([+-]?)0*(\d{1,2})(?![\w-])")


def formulas(text: str) -> Markup:
    """Text with N_opt, C^0.52, 1.5e+21 and `names` as print has them, -0.1 with a real minus, α for
    alpha; markup, and what is code, is left as it is."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    parts = _CODE.split(text)  # every other one is code
    return Markup("".join(part if k % 2 else _formulas(part) for k, part in enumerate(parts)))


def _formulas(text: str) -> str:
    text = _LETTER.sub(lambda name: _GREEK[name[0]], text)
    text = re.sub(r"(?<=[\w)])\*(?=[A-Za-z(])", "·", text)
    text = _SUBSCRIPT.sub(r"\1<sub>\2</sub>", text)
    text = _POWER.sub(lambda found: f"<sup>{found[1].replace('-', '−')}</sup>", text)
    text = _SCIENTIFIC.sub(_scientific, text)
    return re.sub(r"(?<=[ (\[>])-(?=\d)|^-(?=\d)", "−", text)


def _scientific(found: re.Match[str]) -> str:
    factor, sign, power = found.groups()
    times = "" if factor == "1" else f"{factor}×"
    return f"{times}10<sup>{sign.replace('+', '').replace('-', '−')}{power}</sup>"


def code(text: str) -> Markup:
    """A cell in the fixed-width font: a name of a run or a file."""
    return Markup("<code>{}</code>").format(text)


def flagged(text: str, good: bool = False) -> str:
    """A cell that stands out unless it is `good`."""
    return text if good else Markup('<span class="flag">{}</span>').format(text)


def inline_figures(folder: Path, captions: Mapping[str, str]) -> dict[str, str]:
    """Inline SVG by name of the figures with a caption that `folder` holds."""
    files = {name: folder / f"{name}.svg" for name in captions}
    return {
        name: inline_svg(path, captions[name]) for name, path in files.items() if path.is_file()
    }


def drawn_inline(figure: "Figure", name: str, label: str) -> str:
    """Inline SVG of a figure that is in no file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.svg"
        figure.savefig(path)
        return inline_svg(path, label)


def inline_svg(path: Path, label: str) -> str:
    """The SVG element of `path`, scaled by the page, with `label` for screen readers.

    Its ids begin with the figure's name, so that they differ from those of other figures; its class
    is page where it is wider than a column of print. Raises PlmScalingError if the file holds no
    SVG.
    """
    text = path.read_text(encoding="utf-8")
    start = text.find("<svg")
    if start < 0:
        raise PlmScalingError(f"{path}: not an SVG; remove it and draw it again")
    body = re.sub(r"<metadata>.*?</metadata>", "", text[start:], flags=re.DOTALL)
    body = _ID.sub(rf'id="{path.stem}-\1"', body)
    body = _REFERENCE.sub(rf"\g<1>{path.stem}-", body)
    head, rest = body.split(">", 1)
    size = _WIDTH.search(head)
    wide = size is not None and float(size[1]) > COLUMN_POINTS
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    shown = f'class="{"page" if wide else "column"}" role="img" aria-label="{label}"'
    return f"{head} {shown}>{rest.rstrip()}"
