"""Studies of which a part has finished, on a surface that is known or bends away from it."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import synthetic
from cell_fixtures import cell_of

from plm_scaling.common.files import write_json
from plm_scaling.forecasts.asked import Asked
from plm_scaling.study.cell import Cell
from plm_scaling.study.shapes import Shape
from plm_scaling.tokens.format import vocabulary
from plm_scaling.tokens.format.manifest import data_sha256
from plm_scaling.tokens.format.shards import FORMAT

BUDGETS = (1e16, 3e16, 1e17)
SURFACE = synthetic.Surface(E=1.5, A=20.0, B=120.0)
Loss = Callable[[float, float], float]


def cell_at(n_params: float, flops: float, **changes: object) -> Cell:
    """A CLM cell of N parameters at a budget."""
    steps = max(1, round(flops / (6 * n_params * 4096)))
    return cell_of(
        "clm",
        Shape(layers=4, hidden=64, ffn=170, heads=4),
        size=f"{n_params / 1e6:.3g}M",
        n_params=round(n_params),
        tokens=steps * 4096,
        steps=steps,
        flops_budget=flops,
        flops=6.0 * round(n_params) * steps * 4096,
        **changes,
    )


def write_runs(
    results: Path,
    budgets: Sequence[float] = BUDGETS,
    loss: Loss = SURFACE.loss,
    noise: float = 0.003,
    seed: int = 0,
    **changes: object,
) -> list[Cell]:
    """Finished runs of six sizes at each budget, with `manifest.json` of their data; the cells."""
    rng = np.random.default_rng(seed)
    manifest = write_manifest(results)
    cells = []
    for flops in budgets:
        for factor in np.geomspace(1 / 4, 4, 6):
            cell = cell_at(SURFACE.optimum(flops) * factor, flops, **changes)
            end = loss(cell.n_params, cell.tokens) + noise * rng.standard_normal()
            write_run(results, cell, end, data_of(manifest, cell))
            cells.append(cell)
    return cells


def write_run(results: Path, cell: Cell, loss: float, data: str = "0") -> None:
    """One finished run on the data of that digest."""
    folder = results / "runs" / cell.cell
    synthetic.write_cell(folder, cell, loss, unique_tokens=cell.tokens)
    record = json.loads((folder / "result.json").read_text())
    write_json(folder / "result.json", record | {"data_sha256": data})


def write_manifest(results: Path, sha256: str = "1") -> Path:
    """A manifest without shards but that of one source."""
    shard = {"path": "a", "rows": 1, "tokens": 1, "bytes": 1, "sha256": sha256}
    strata = {"strata": {"kept": {"shards": [shard]}}, "kind": "protein"}
    manifest = {
        "format": FORMAT,
        "vocabulary_sha256": vocabulary.SHA256,
        "corpus": {},
        "context_length": 64,
        "splits": {split: {"sources": {"a": strata}} for split in ("train", "valid")},
    }
    write_json(results / "manifest.json", manifest)
    return results / "manifest.json"


def data_of(manifest: Path, cell: Cell) -> str:
    """The digest of what a cell reads."""
    return data_sha256(json.loads(manifest.read_text()), cell.mixture, cell.strata)


def ask(results: Path, cells: Sequence[Cell], extra: Sequence[Cell] = ()) -> None:
    """forecasts.json as Snakemake writes it."""
    asked = Asked(
        cells=[cell.cell for cell in (*cells, *extra)],
        extra=[cell.cell for cell in extra],
        final_evaluations=1,
        huber_delta=1e-3,
    )
    asked.write(results / "forecasts.json")


def bending(n_params: float, tokens: float) -> float:
    """A surface that falls the faster the more compute is spent, unlike the law's form."""
    decades = math.log10(6 * n_params * tokens / BUDGETS[0])
    return float(SURFACE.loss(np.float64(n_params), np.float64(tokens)) - 0.02 * decades**2)
