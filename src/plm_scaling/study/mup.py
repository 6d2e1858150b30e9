"""muP: what a model of any width takes over from the settings of one width.

Yang et al. 2022 (Tensor Programs V, arXiv:2203.03466), Table 8, the form for Adam that tied
embeddings need. With m = hidden / base width:

| | initial deviation | learning rate | multiplier |
|---|---|---|---|
| embeddings, tied with the output | σ | η | logits times 1/m |
| weights of norms | | η | |
| matrices of the layers | σ/√m | η/m | |
| attention | | | q·k times √(base channels)/channels, channels being those of a head |

AdamW takes off learning rate · weight decay · weight in each step; matrices of the layers have m
times the weight decay, so that this share does not depend on the width. The MLP's width counts as
proportional to `hidden`, as it is in the study's grid but for three sizes.
"""

from dataclasses import dataclass

from plm_scaling.study.cell import Cell


@dataclass(frozen=True)
class Scales:
    """Factors on what a cell states; all 1 without muP, and at the base width and channels."""

    matrix_std: float = 1.0
    """On the initial deviation of the layers' matrices."""
    matrix_rate: float = 1.0
    """On their learning rate."""
    matrix_decay: float = 1.0
    """On their weight decay."""
    logits: float = 1.0
    queries: float = 1.0
    """On queries after their norm; attention divides q·k by √channels, as without muP."""


def scales_of(cell: Cell) -> Scales:
    """The factors of a cell; see the table above."""
    if cell.mup_base_width is None or cell.mup_base_channels is None:
        return Scales()
    wider = cell.hidden / cell.mup_base_width
    channels = cell.hidden / cell.heads
    return Scales(
        matrix_std=wider**-0.5,
        matrix_rate=1 / wider,
        matrix_decay=wider,
        logits=1 / wider,
        queries=(cell.mup_base_channels / channels) ** 0.5,
    )
