"""The tasks by name. Each is a module, imported when it is used: some need torch, some gemmi."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from plm_scaling.common.files import read_json, write_json
from plm_scaling.config.downstream import TaskSettings
from plm_scaling.downstream.scores import Score
from plm_scaling.downstream.table import Dataset


@dataclass(frozen=True)
class Task:
    """What a task does with a dataset: two functions of its module."""

    module: str
    blocks: tuple[str, ...] = ()
    """What it reads of `TaskSettings`; another value evaluates it again."""
    structure: bool = False
    """Whether it asks for structure, of which a homologue in training may tell: these are kept out
    of training (`kept_out`)."""
    tables: tuple[str, ...] = ("items.parquet",)
    """What a prepared dataset has to have."""
    binned: bool = False
    """Whether its scores are by the items' identity to the training set (`exposure`)."""

    def prepare(self, files: list[Path], row: Dataset, out: Path) -> None:
        """Write items.parquet (a row per item: id, split, sequence, target or label, group),
        counts.tsv and task.json into the folder `out`, from the files of the dataset in the order
        of the table. Raises `DownstreamError` naming file, row and what is wrong."""
        import_module(self.module).prepare(files, row, out)
        facts = out / "task.json"
        write_json(facts, read_json(facts) | {"metric": row.metric})

    def evaluate(
        self,
        model_name: str,
        items: Path,
        settings: TaskSettings,
        out: Path,
        threads: int,
        seed: int,
        exposure: Path | None = None,
    ) -> list[Score]:
        """Write the predictions of a model for the items (items.parquet) to the table `out`, and
        return its scores. Raises `DownstreamError` where the model cannot do the task."""
        bins = {"exposure": exposure} if self.binned else {}
        scores: list[Score] = import_module(self.module).evaluate(
            model_name, items, settings, out, threads, seed, **bins
        )
        return scores


TASKS = {
    "fitness": Task(
        "plm_scaling.downstream.fitness.task", tables=("items.parquet", "proteins.parquet")
    ),
    "contacts": Task("plm_scaling.downstream.contacts.task", ("contacts", "lora"), structure=True),
    "secondary_structure": Task(
        "plm_scaling.downstream.probes.secondary_structure", ("probe", "lora"), structure=True
    ),
    "remote_homology": Task(
        "plm_scaling.downstream.probes.remote_homology", ("probe", "lora"), structure=True
    ),
    "regression": Task("plm_scaling.downstream.probes.regression", ("probe", "lora")),
    "ood_perplexity": Task("plm_scaling.downstream.ood.task", binned=True),
}
