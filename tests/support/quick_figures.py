"""Figures as SVG alone, all that a page shows, or without PDF, which takes longest."""

from typing import Any
from unittest import mock

from plm_scaling.figures.parts import style


def only_svg() -> Any:
    """A context, or a decorator, in which no other format is drawn."""
    return mock.patch.object(style, "CANVASES", {"svg": style.CANVASES["svg"]})


def without_pdf() -> Any:
    """A context, or a decorator, in which SVG and PNG are drawn."""
    return mock.patch.object(style, "CANVASES", {k: style.CANVASES[k] for k in ("svg", "png")})
