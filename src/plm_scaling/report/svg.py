"""Figures as parts of the page: inline SVG whose ids do not meet those of its neighbours."""

import re
from pathlib import Path

from plm_scaling.common.errors import PlmScalingError

_ID = re.compile(r'\bid="([^"]+)"')
_REFERENCE = re.compile(r'(xlink:href="#|href="#|url\(#)')


def inline_svg(path: Path, label: str) -> str:
    """The SVG element of `path`, scaled by the page, with `label` for readers who do not see it.

    Raises PlmScalingError if the file is missing or holds no SVG.
    """
    if not path.is_file():
        raise PlmScalingError(f"{path}: no such figure; draw it with `snakemake laws`")
    text = path.read_text()
    start = text.find("<svg")
    if start < 0:
        raise PlmScalingError(f"{path}: not an SVG; remove it and draw it again")
    body = re.sub(r"<metadata>.*?</metadata>", "", text[start:], flags=re.DOTALL)
    body = _ID.sub(rf'id="{path.stem}-\1"', body)
    body = _REFERENCE.sub(rf"\g<1>{path.stem}-", body)
    head, rest = body.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{label}">{rest.rstrip()}'
