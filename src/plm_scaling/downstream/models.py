"""What scores.csv says of the models that are evaluated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plm_scaling.study.record import read_finished

FACTS = (
    *("kind", "objective", "recipe", "corpus", "size"),
    *("n_params", "tokens", "flops", "loss"),
)


def facts_of(name: str, told: Mapping[str, str]) -> dict[str, Any]:
    """The columns `FACTS` of a model: of a run by its record, of another by what its table tells;
    None for what is not known. `loss` is the last validation loss, in nats per token (scores.csv
    has the mean of the last ones)."""
    from plm_scaling.inference.run import find_run  # which imports the trainer for seconds

    facts: dict[str, Any] = dict.fromkeys(FACTS)
    result = (Path(name) if Path(name).is_dir() else find_run(name)) / "result.json"
    if not result.is_file():
        return facts | {key: told[key] for key in FACTS if key in told}
    record, cell = read_finished(result)
    of_cell = {key: getattr(cell, key) for key in FACTS[1:6]}
    of_record = {key: getattr(record, key) for key in FACTS[6:]}
    of_cell["recipe"] = cell.recipe_in_tables
    kind = record.status if record.status == "imported" else "cell" if record.steps else "untrained"
    return facts | {"kind": kind} | of_cell | of_record
