"""Runs whose law is known: a loss surface, and the files training would have left behind."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cell_fixtures import cell_of, record_of

from plm_scaling.common.files import sha256_of, write_json
from plm_scaling.study.cell import Cell
from plm_scaling.study.shapes import Shape
from plm_scaling.study.sweep_table import write_sweep


@dataclass(frozen=True)
class Surface:
    """L = E + A/N^alpha + B/D^beta in nats/token; by default one whose optima fit `SIZES`."""

    E: float = 1.6
    A: float = 30.0
    alpha: float = 0.34
    B: float = 130.0
    beta: float = 0.36

    def loss(self, n_params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Loss at N non-embedding parameters and D tokens."""
        return self.E + self.A / n_params**self.alpha + self.B / tokens**self.beta

    @property
    def a(self) -> float:
        """Exponent of N_opt = k·C^a."""
        return self.beta / (self.alpha + self.beta)

    def optimum(self, flops: float) -> float:
        """N_opt at a budget C = 6·N·D."""
        ratio = self.alpha * self.A / (self.beta * self.B)
        return ratio ** (1 / (self.alpha + self.beta)) * (flops / 6) ** self.a


def isoflop_grid(
    surface: Surface,
    budgets: Sequence[float],
    n_sizes: int = 7,
    span: float = 4.0,
    noise: float = 0.0,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """N, D, C, L of a grid of `n_sizes` per budget, within a factor `span` around the optimum.

    `noise` is the relative standard deviation of the loss.
    """
    rng = np.random.default_rng(seed)
    flops = np.repeat(np.asarray(budgets, float), n_sizes)
    factors = np.geomspace(1 / span, span, n_sizes)
    n_params = np.concatenate([surface.optimum(c) * factors for c in budgets])
    tokens = flops / (6 * n_params)
    loss = surface.loss(n_params, tokens) * (1 + noise * rng.standard_normal(len(flops)))
    return n_params, tokens, flops, loss


UNIQUE_TOKENS = 5_000_000  # of the corpus
DEMO_BUDGETS = (3e11, 1e12, 3e12)
DEMO_SURFACES = {
    "clm": Surface(),
    "mlm": Surface(E=1.5, A=12.0, alpha=0.26, B=130.0, beta=0.34),
}


def write_study(
    folder: Path,
    budgets: Sequence[float] = DEMO_BUDGETS,
    n_sizes: int = 5,
    span: float = 4.0,
    noise: float = 0.002,
    seed: int = 0,
    evaluations: int = 8,
    surfaces: dict[str, Surface] | None = None,
) -> Path:
    """Write `sweep.tsv` and `runs/{cell}/` of a finished study into `folder`; return the sweep."""
    cells: dict[str, Cell] = {}
    for objective, surface in (surfaces or DEMO_SURFACES).items():
        grid = isoflop_grid(surface, budgets, n_sizes, span, noise, seed)
        for n_params, tokens, flops, loss in zip(*grid, strict=True):
            steps = max(1, round(tokens / 4096))
            name = f"{objective}{len(cells):03d}"
            cells[name] = cell_of(
                objective,
                Shape(layers=4, hidden=64, ffn=170, heads=4),
                size=f"{n_params / 1e3:.3g}k",
                n_params=round(n_params),
                n_params_total=round(n_params) + 128 * 64,
                tokens=steps * 4096,
                steps=steps,
                batch_rows=4,
                context_length=1024,
                flops_budget=float(flops),
                flops=6.0 * round(n_params) * steps * 4096,
                flops_exact=6.6 * round(n_params) * steps * 4096,
                corpus="demo",
            )
            write_cell(folder / "runs" / name, cells[name], loss, evaluations)
    write_sweep(cells, folder / "sweep.tsv")
    return folder / "sweep.tsv"


def write_cell(
    folder: Path,
    cell: Cell,
    loss: float,
    evaluations: int = 8,
    status: str = "finished",
    unique_tokens: int = UNIQUE_TOKENS,
) -> None:
    """Write `curve.csv` and `result.json` of one cell that ends at `loss`."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["step,tokens,flops,split,loss,learning_rate,tokens_per_second"]
    for k in range(1, evaluations + 1):
        share = k / evaluations
        value = float(loss) + 0.9 * (math.exp(-5 * share) - math.exp(-5))
        if status == "diverged" and k == evaluations:
            value = float("nan")
        for split, offset in (("train", 0.004), ("valid", 0.0)):
            lines.append(
                f"{round(share * cell.steps)},{round(share * cell.tokens)},{share * cell.flops!r},"
                f"{split},{value - offset!r},{1e-3 * (1.1 - share):.6g},21000.0"
            )
    (folder / "curve.csv").write_text("\n".join(lines) + "\n")
    diverged = status == "diverged"
    result = record_of(
        cell,
        cell=folder.name,
        status=status,
        reason="loss is not finite at the last evaluation" if diverged else "",
        loss=None if diverged else float(loss),
        loss_last=None if diverged else float(loss),
        n_evals=evaluations,
        unique_tokens=min(cell.tokens, unique_tokens),
        curve_sha256=sha256_of(folder / "curve.csv"),
    )
    write_json(folder / "result.json", result.to_json())
