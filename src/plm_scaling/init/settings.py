"""Blocks of a config that follow from the size of the data, of the models and of the devices."""

from collections.abc import Sequence
from typing import Any

from plm_scaling.config.sweep import Objective
from plm_scaling.init.proteins import Proteins
from plm_scaling.init.request import Request
from plm_scaling.study.shapes import SHAPES, STUDY_GRID

SMALLEST_OF_STUDY = next(iter(STUDY_GRID))
SHORT_ROWS, ROWS = 256, 1024  # tokens; long rows cost a small model most FLOPs in attention
STUDY_ROWS = 3072  # of 1,024 held-out tokens
FEW_EVALUATIONS, EVALUATIONS = 5, 40  # each reads the held-out rows, of up to two sets
TINY = 10_000  # parameters: with few steps, of batches whose losses differ by tenths of a nat
LEAST_ROWS = 200
EVALUATED = 0.3  # of the tokens of the shortest cell, that all its evaluations may read
# Step Law's batch (docs/training.md): the study's half a million tokens are too many for few steps.
BATCH = {"factor": 0.58, "parameters": 0, "tokens": 0.571}
# From the demo's 1e-2 at thousands of parameters to the study's 1e-3 at 3.5 million.
RATE = {"factor": 0.2, "parameters": -0.35, "tokens": 0}


def blocks(
    request: Request,
    proteins: Proteins,
    mixture: dict[str, float],
    sweep: dict[str, Any],
    fewest_tokens: float,
) -> dict[str, Any]:
    """The config as a mapping; what is not in it has its default.

    Args:
        mixture: shares of the sources, empty for the files alone
        sweep: the block
        fewest_tokens: of the cell with the fewest
    """
    own: dict[str, Any] = {"path": [str(path) for path in proteins.paths]}
    context = SHORT_ROWS if request.devices.gpu is None else ROWS
    tokens = {} if context == ROWS else {"tokens": {"context_length": context}}
    corpus = {**own, "mixture": mixture} if mixture else own
    return {
        "study": request.study,
        "data": {"parts": proteins.parts},
        "corpora": {corpus_name(request): corpus},
        "split": {
            **proteins.clustering,
            "valid_fraction": proteins.valid_fraction,
            "reference_fraction": proteins.reference_fraction,
        },
        **({"filter": {"reference_source": request.mix}} if mixture else {}),
        **tokens,
        "sweep": sweep,
        **_training(request, sweep["sizes"], proteins.held_out / context, fewest_tokens / context),
        "machine": request.devices.machine,
    }


def corpus_name(request: Request) -> str:
    """Also that of the files as a source."""
    return f"{request.study}-own" if request.mix == request.study else request.study


def _training(
    request: Request, sizes: Sequence[str], held_out_rows: float, fewest_rows: float
) -> dict[str, Any]:
    """The blocks `training` and `runs`: of held-out rows half of those expected at most, as
    homologues of training are dropped from them."""
    rows = min(STUDY_ROWS, held_out_rows / 2)
    few = 2 * EVALUATIONS * rows > EVALUATED * fewest_rows
    if few:  # also of them, but no fewer than tell sizes apart
        rows = min(rows, max(LEAST_ROWS, EVALUATED * fewest_rows / (2 * FEW_EVALUATIONS)))
    training: dict[str, Any] = {"valid_rows": _round(rows)}
    if few:
        training["evaluations"] = FEW_EVALUATIONS
    runs = {"runs": {"final_evaluations": 1}} if few else {}
    smallest = SHAPES[sizes[0]].n_params("study")
    if smallest < SHAPES[SMALLEST_OF_STUDY].n_params("study"):
        rates: dict[Objective, Any] = dict.fromkeys(request.objectives, RATE)
        training |= {"batch_tokens": BATCH, "peak_learning_rate": rates}
        training |= {"init_std": _init_std(sizes)}
    if smallest < TINY:
        training |= {"warmup_fraction": 0.05, "spike_loss": 2.0}
    if request.devices.gpu is None:
        training["checkpoint_seconds"] = 60
    return {"training": training, **runs}


def _init_std(sizes: Sequence[str]) -> list[dict[str, float]]:
    """About √(2/(5·width)) for the smaller and the larger half of the sizes (docs/training.md)."""
    halves = [sizes[: len(sizes) // 2], sizes[len(sizes) // 2 :]]
    starts = [0.0, float(f"{0.9 * SHAPES[halves[1][0]].n_params('study'):.2g}")]
    middles = [SHAPES[half[len(half) // 2]].hidden for half in halves]
    return [
        {"from_parameters": start, "value": float(f"{(2 / 5 / width) ** 0.5:.2g}")}
        for start, width in zip(starts, middles, strict=True)
    ]


def _round(rows: float) -> int:
    """Down to two digits, one at least."""
    digits = len(str(int(max(1, rows)))) - 2
    return max(1, int(rows)) if digits <= 0 else int(rows) // 10**digits * 10**digits
