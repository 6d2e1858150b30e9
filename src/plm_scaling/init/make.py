"""A study's folder from someone's proteins, devices and time."""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import yaml

from plm_scaling.common.files import atomic
from plm_scaling.config.load import validate_config
from plm_scaling.config.sweep import Objective
from plm_scaling.design.request import Asked
from plm_scaling.design.show import DRAWS
from plm_scaling.design.simulate import Expected, expect
from plm_scaling.init.proteins import Proteins, look_at
from plm_scaling.init.request import Request, existing
from plm_scaling.init.settings import blocks, corpus_name
from plm_scaling.init.sizing import Limits, Sizing, largest_within
from plm_scaling.init.text import config_text
from plm_scaling.study.cell import MAX_EPOCHS
from plm_scaling.sweep.cells import plan_cells
from plm_scaling.sweep.settings import by_size

# Tokens of what can be mixed in, from the study's table of its data (Cheng et al. 2024); releases
# since then have more.
MIXED = {"uniref50": 15.2e9, "uniref90": 37.8e9, "colabfold_c": 37.7e9, "colabfold_m": 103e9}
OWN_SHARE = 0.5  # of the tokens, if one's own proteins are enough for it
CONFIG = "config.yaml"


@dataclass(frozen=True)
class Made:
    """What was chosen, and what from."""

    request: Request
    proteins: Proteins
    sizing: Sizing
    limits: Limits
    limit: str
    """tokens, compute or sizes: what keeps the sweep from being larger."""
    own_share: float
    """Of the training tokens that are the files'."""
    config: str
    """The text of the config."""

    @cached_property
    def mfu(self) -> float:
        """Share of the GPUs' peak that all cells together are assumed to reach."""
        exact = flops = 0.0
        for cell in plan_cells(self.sizing.config).values():
            exact += cell.flops_exact / by_size(
                self.sizing.config.machine.utilisation, cell.n_params
            )
            flops += cell.flops_exact
        return flops / exact

    @cached_property
    def expected(self) -> dict[Objective, tuple[Expected, Expected]]:
        """What the sweep is expected to say of the exponent, and of ln N at the largest budget;
        empty where the published laws do not reach."""
        if not self.sizing.by_law:
            return {}
        asked = (Asked("exponent"), Asked("size-at", self.sizing.largest))
        said = {}
        for objective, points in self.sizing.points.items():
            prior = self.limits.priors[objective]
            first, second = (expect(one, points, prior, DRAWS) for one in asked)
            said[objective] = (first, second)
        return said


def make(request: Request) -> Made:
    """Look at the data and size the study; nothing is written.

    Raises `SourceError` for files that cannot be used, `ConfigError` where data or compute allow no
    sweep.
    """
    proteins = look_at(corpus_name(request), request.fasta)
    if request.mix:
        proteins = replace(proteins, beside=MIXED[request.mix])
    limits = Limits(request.devices, request.objectives, MAX_EPOCHS * proteins.unique)

    def complete(sweep: dict[str, Any], fewest: float, share: float = OWN_SHARE) -> dict[str, Any]:
        return blocks(request, proteins, _mixture(request, share), sweep, fewest)

    sizing, limit = largest_within(limits, complete)
    share = own_share(proteins, sizing)
    values = complete(sizing.sweep, sizing.fewest_tokens, share)
    text = config_text(request, proteins, sizing, values)
    validate_config(yaml.safe_load(text), CONFIG)  # as it will be read
    return Made(request, proteins, sizing, limits, limit, share, text)


def write(made: Made) -> None:
    """The folder with the config, whole or not at all.

    Raises `ConfigError` if the folder was made since it was asked for.
    """
    folder = made.request.folder
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise existing(folder) from error
    try:
        with atomic(folder / CONFIG) as part:
            part.write_text(made.config)
    except BaseException:
        with suppress(OSError):  # of a folder in which is something else
            folder.rmdir()
        raise


def _mixture(request: Request, share: float) -> dict[str, float]:
    """Shares of the sources; empty for the files alone."""
    if request.mix is None:
        return {}
    return {corpus_name(request): share, request.mix: round(1 - share, 6)}


def own_share(proteins: Proteins, sizing: Sizing) -> float:
    """The files' share of the tokens: half, or as much as lets no cell see them, or what is mixed
    in, more than `MAX_EPOCHS` times."""
    if not proteins.beside:
        return 1.0
    share = min(OWN_SHARE, MAX_EPOCHS * proteins.tokens / sizing.most_tokens)
    share = max(share, 1 - MAX_EPOCHS * proteins.beside / sizing.most_tokens)
    return float(f"{share:.2g}")
