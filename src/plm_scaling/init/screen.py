"""What `plm-scaling init` chose and why, in one screen of the terminal."""

import os
import textwrap
from collections.abc import Iterator
from typing import Any

from plm_scaling.common.progress import short_bytes, short_number
from plm_scaling.design.block import flow
from plm_scaling.design.request import Asked
from plm_scaling.design.text import value_text, width_text
from plm_scaling.init.make import CONFIG, Made
from plm_scaling.init.proteins import TAIL
from plm_scaling.init.request import Devices
from plm_scaling.init.settings import TINY
from plm_scaling.init.sizing import PACKED, PLACED
from plm_scaling.laws.stats.intervals import percent
from plm_scaling.preflight.text import time_text
from plm_scaling.study.cell import MAX_EPOCHS
from plm_scaling.sweep.memory import STATE_BYTES

WIDTH = 100
LABEL = 10
FEW_TOKENS = 1e8  # of fewer even the largest models of the sweep have under a million parameters
LEAST_SHARE = 0.01  # of one's own proteins; of less a model hardly knows
MIX = ", such as --mix uniref50"


def screen(made: Made, written: bool) -> str:
    """At most 24 lines of 100 columns."""
    request = made.request
    rows = [
        ("data", _data(made)),
        ("tokens", _tokens(made)),
        ("compute", _compute(made)),
        ("limit", _limit(made)),
        ("sweep", _sweep(made)),
        ("costs", _costs(made)),
        ("teaches", _teaches(made)),
        *(("note", note) for note in _notes(made)),
    ]
    lines = [line for label, text in rows for line in _row(label, text)]
    ends = [f"written: {request.folder / CONFIG}"]
    ends += [f"next: plm-scaling run {request.folder} --dry-run{_cores(request.devices)}"]
    if not written:
        ends = [f"dry run: nothing is written; without --dry-run {request.folder / CONFIG}"]
    return "\n".join([*lines, *ends])


def facts(made: Made) -> dict[str, Any]:
    """As JSON, with units in the keys."""
    proteins, sizing = made.proteins, made.sizing
    return {
        "study": made.request.study,
        "paths": [str(path) for path in proteins.paths],
        "sequences": proteins.sequences,
        "residues": proteins.residues,
        "sequences_kept_by_rules": proteins.kept,
        "training_tokens_at_most": proteins.tokens,
        "tokens_mixed_in": proteins.beside,
        "own_share": made.own_share,
        "limit": made.limit,
        "device_hours": made.request.devices.count * made.request.devices.hours,
        "device_hours_of_sweep": sizing.cost.hours,
        "flops": sizing.cost.flops,
        "cells": sizing.cells,
        "budgets_flops": sizing.sweep["budgets_flops"],
        "most_epochs": _epochs(made),
        "half_width_95": {
            objective: {
                "exponent": of_exponent.half_width,
                "log_size_at_largest": of_size.half_width,
            }
            for objective, (of_exponent, of_size) in made.expected.items()
        },
        "config": made.config,
    }


def _cores(devices: Devices) -> str:
    """The option that keeps a run to the cores asked for, where the machine has more."""
    fewer = devices.gpu is None and devices.count < len(os.sched_getaffinity(0))
    return f" -- --cores {devices.count}" if fewer else ""


def _data(made: Made) -> str:
    own = made.proteins
    many, within = ("file", "") if own.files == 1 else ("files", " from others of their file")
    return (
        f"{own.sequences:,} proteins, {own.residues:,} residues in {own.files} {many}, median "
        f"length {own.median}; {own.kept:,} differ{within} and pass the filter's rules"
    )


def _tokens(made: Made) -> str:
    own = made.proteins
    text = (
        f"at most {short_number(own.tokens)} unique ones to train on: all that pass, less "
        f"{percent(own.valid_fraction)} held out, {percent(own.reference_fraction)} for the "
        f"filter's model and {percent(TAIL)} that it drops; only clustering tells how many are "
        "redundant"
    )
    if made.request.mix:
        text += (
            f"; with {short_number(own.beside)} of {made.request.mix}, yours are "
            f"{percent(made.own_share)} of what models see"
        )
    return text


def _compute(made: Made) -> str:
    devices, machine = made.request.devices, made.sizing.config.machine
    total = devices.count * devices.hours
    if devices.gpu is None:
        rate, how = machine.cpu_gflops * 1e9, f"{machine.cpu_gflops:g} GFLOP/s a core"
    else:
        rate = made.mfu * devices.peak
        how = f"{percent(round(made.mfu, 2))} of their peak, assumed (machine.utilisation)"
    flops = _flops(total * 3600 * rate)
    return f"{devices.text}: {_hours(total, devices)}, {flops} FLOPs at {how}"


def _limit(made: Made) -> str:
    share = made.sizing.cost.hours / made.limits.hours * PACKED
    if made.limit == "tokens":
        return (
            f"data: in a larger sweep models would see tokens more than {MAX_EPOCHS:g} times, "
            f"where laws are less sure. It takes {percent(float(f'{share:.2g}'))} of the time; "
            f"more proteins would make use of the rest{'' if made.request.mix else MIX}"
        )
    if made.limit == "sizes":
        return "model sizes: the largest known ones are too small, or do not fit, for more compute"
    seen = f"no model sees a token more than {_epochs(made):.2g} times"
    if made.request.devices.gpu is None and share < 0.5:
        return (
            "compute: each model is trained on one core, and the longest of the stages, one after "
            f"another, take the time; {seen}"
        )
    return f"compute: the data would do for more; {seen}"


def _epochs(made: Made) -> float:
    """Passes of the cell with the most tokens over one's own, if none are redundant."""
    return made.sizing.most_tokens * made.own_share / made.proteins.tokens


def _sweep(made: Made) -> str:
    sizing = made.sizing
    budgets = sizing.sweep["budgets_flops"]
    counts = sorted(point.n_params for points in sizing.points.values() for point in points)
    kinds = " and ".join(objective.upper() for objective in sizing.points)
    return (
        f"about {sizing.cells} models, {kinds}, of {short_number(counts[0])} to "
        f"{short_number(counts[-1])} parameters at {len(budgets)} budgets, {_flops(budgets[0])} to "
        f"{_flops(budgets[-1])} FLOPs each; the {PLACED} largest are placed by what the others show"
    )


def _costs(made: Made) -> str:
    sizing, data = made.sizing, made.proteins.cost
    disk = data.disk_bytes + STATE_BYTES * sizing.weights
    text = (
        f"about {_hours(sizing.cost.hours, made.request.devices)} and {short_bytes(disk)} of disk; "
        f"before, {time_text(data.wall_seconds)} for the data on the {data.cores} cores here"
    )
    if made.request.mix:
        text += f", and much more for {made.request.mix} (docs/scale.md)"
    return text


def _teaches(made: Made) -> str:
    sizing = made.sizing
    if not made.expected:
        largest = max(point.n_params for points in sizing.points.values() for point in points)
        if largest < TINY:
            return (
                "the method, and hardly a law: models of a few thousand parameters learn how "
                "frequent residues are, and little more"
            )
        return (
            "not known before: the published laws say nothing of "
            f"{_flops(min(sizing.sweep['budgets_flops']))} FLOPs. It is these data's own law at a "
            "small scale, and no forecast of large models"
        )
    said = []
    for objective, (of_exponent, of_size) in made.expected.items():
        surface = made.limits.priors[objective].surface
        first, second = Asked("exponent"), Asked("size-at", sizing.largest)
        said.append(
            f"{objective.upper()}: exponent of the best size "
            f"{width_text(first, of_exponent.half_width)} (about {value_text(first, surface)}), "
            f"best size at {_flops(sizing.largest)} FLOPs {width_text(second, of_size.half_width)} "
            f"(about {value_text(second, surface)})"
        )
    return "; ".join(said) + ", 95 % intervals, if these proteins are like the study's"


def _notes(made: Made) -> Iterator[str]:
    if made.own_share < LEAST_SHARE:
        yield (
            f"these will be models of {made.request.mix}: fine-tune one on your proteins "
            "afterwards, or a released model now (docs/downstream.md)"
        )
    if made.proteins.unique < FEW_TOKENS:
        yield (
            "few data: to predict from these proteins, a released model with LoRA or a frozen "
            "probe will do far better (docs/downstream.md). For larger models: --mix uniref50"
        )


def _hours(value: float, devices: Devices) -> str:
    """Of all devices together."""
    text = f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
    return f"{text} {devices.unit.removesuffix('s') if text == '1' else devices.unit}"


def _flops(value: float) -> str:
    """Two digits, as in the config."""
    return flow(float(f"{value:.2g}"))


def _row(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"{label:<{LABEL}}", subsequent_indent=" " * LABEL,
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip
