"""The models that are evaluated, and what scores.csv says of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from plm_scaling.inference.run import TrainedRun, find_run, open_run
from plm_scaling.study.record import read_finished

FACTS = (
    *("kind", "objective", "recipe", "corpus", "size"),
    *("n_params", "tokens", "flops", "loss"),
)


@contextmanager
def opened(name: str, threads: int) -> Iterator[TrainedRun]:
    """A model by its name: the folder of a run, or the id of a cell below results/*/runs."""
    with open_run(find_run(name), threads) as run:
        yield run


def facts_of(name: str, told: Mapping[str, str]) -> dict[str, Any]:
    """The columns `FACTS` of a model: of a run by its record, of another by what its table tells;
    None for what is not known. `loss` is the last validation loss, in nats per token."""
    facts: dict[str, Any] = dict.fromkeys(FACTS)
    result = find_run(name) / "result.json"
    if not result.is_file():
        return facts | {key: told[key] for key in FACTS if key in told}
    record, cell = read_finished(result)
    of_cell = {key: getattr(cell, key) for key in FACTS[1:6]}
    of_record = {key: getattr(record, key) for key in FACTS[6:]}
    if cell.start_token:  # as in runs.csv: losses count first residues, too
        of_cell["recipe"] += "+start_token"
    return facts | {"kind": "cell" if record.tokens else "untrained"} | of_cell | of_record
