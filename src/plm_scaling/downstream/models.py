"""What scores.csv says of the models that are evaluated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plm_scaling.common.files import read_json
from plm_scaling.inference.find import find_run
from plm_scaling.study.record import read_finished

FACTS = (
    *("kind", "objective", "recipe", "corpus", "size"),
    *("n_params", "tokens", "flops", "loss"),
)

CAUSAL = ("progen",)
"""Kinds of public models that are causal, as their config.json calls them."""


def facts_of(name: str, told: Mapping[str, str]) -> dict[str, Any]:
    """The columns `FACTS` of a model: of a run by its record, of another by what its table tells;
    None for what is not known. `loss` is the last validation loss, in nats per token (scores.csv
    has the mean of the last ones)."""
    facts: dict[str, Any] = dict.fromkeys(FACTS)
    result = find_run(name) / "result.json"
    if not result.is_file():
        return facts | {key: told[key] for key in FACTS if key in told}
    record, cell = read_finished(result)
    of_cell = {key: getattr(cell, key) for key in FACTS[1:6]}
    of_record = {key: getattr(record, key) for key in FACTS[6:]}
    of_cell["recipe"] = cell.recipe_in_tables
    kind = record.status if record.status == "imported" else "cell" if record.steps else "untrained"
    return facts | {"kind": kind} | of_cell | of_record


def is_causal(folder: Path) -> bool:
    """Whether the model in a folder is causal: a run by its record, a public one by its kind."""
    result, config = folder / "result.json", folder / "config.json"
    if result.is_file():
        return read_finished(result)[1].objective == "clm"
    return config.is_file() and read_json(config).get("model_type") in CAUSAL
