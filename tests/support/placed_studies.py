"""The full study's config with stages, and runs whose losses lie on a known surface."""

import json
import zlib
from unittest import mock

import numpy as np
import yaml
from synthetic import Surface, write_cell

from plm_scaling.config.load import validate_config
from plm_scaling.design.placing.stage import place_stage
from plm_scaling.sweep.cells import plan_cells
from plm_scaling.sweep.settings import value_at
from plm_scaling.sweep.stages import read_stages

SURFACE = Surface(E=1.6, A=400.0, alpha=0.34, B=600.0, beta=0.31)
STAGES = [
    {"from_flops": 1e20, "sizes": 6, "reach": 1.2, "max_seeds": 3},
    {"from_flops": 1e21, "sizes": 5, "reach": 1.2, "max_seeds": 3},
]


class Study:
    """The full study's config with stages, and runs whose losses lie on SURFACE."""

    def __init__(self, root, folder, noise=2e-4, best=None, best_batch=None, **sweep):
        values = yaml.safe_load((root / "config.yaml").read_text())
        values["sweep"] |= {"objectives": ["clm"], "extra": [], "transfer": []}
        values["sweep"] |= {"budgets_flops": [1e18, 1e19, 1e20, 1e21], "stages": STAGES} | sweep
        values["laws"] |= {"bootstrap": 200, "fits": ["isoflop"]}
        self.config = validate_config(values, "config")
        self.folder, self.noise, self.best, self.best_batch = folder, noise, best, best_batch

    @property
    def stages(self):
        return read_stages(self.folder / "stages", self.config.sweep)

    @property
    def cells(self):
        return plan_cells(self.config, self.stages)

    def train(self, cells=None, status="finished"):
        """All cells that have no run yet."""
        for name, cell in (self.cells if cells is None else cells).items():
            if not (self.folder / "runs" / name).exists():
                loss = SURFACE.loss(np.array(float(cell.n_params)), np.array(float(cell.tokens)))
                rng = np.random.default_rng(zlib.crc32(name.encode()))
                loss = loss * (1 + self.noise * rng.standard_normal())
                if self.best:
                    rate = value_at(self.best, cell.n_params, cell.tokens, batch_of(cell))
                    loss += 0.04 * np.log(cell.peak_learning_rate / rate) ** 2
                if self.best_batch:
                    batch = value_at(self.best_batch, cell.n_params, cell.tokens)
                    loss += 0.05 * np.log(batch_of(cell) / batch) ** 2
                # Of a single evaluation nothing says how noisy it is: the rates are then sure.
                evaluations = 1 if self.best else 6
                write_cell(self.folder / "runs" / name, cell, loss, evaluations, status, 10**15)

    def place(self, number, tokens=None):
        out = self.folder / f"stages/{number}.json"
        runs, sweep = self.folder / "runs", self.folder / "sweep.tsv"
        # No comparison with the law parametric, which takes several seconds and places nothing.
        with mock.patch("plm_scaling.laws.fit.compare_with_other", return_value=None):
            place_stage(self.config, self.config.laws, 1, runs, sweep, out, tokens)
        return json.loads(out.read_text())


def batch_of(cell):
    return cell.batch_rows * cell.context_length
