"""`plm-scaling evaluate`: what a model is good for."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from plm_scaling.cli.options import CORES, Json, Model, Seed, Table, Threads, print_json
from plm_scaling.common.files import read_json

RAW = Path("data/raw/downstream")


def evaluate(
    model: Model,
    dataset: Annotated[str, Parameter(help="a name in the table of benchmarks, as fitness_small")],
    /,
    *,
    out: Table,
    data: Path | None = None,
    table: Path | None = None,
    seed: Seed = 1,
    lora: bool = False,
    json: Json = False,
    threads: Threads = CORES,
) -> None:
    """Scores of a model on a benchmark of function or structure, with standard errors and floors.

    OUT has the predictions; the scores go beside it, ending in .json.

    Example: plm-scaling evaluate CELL fitness_small --out predictions.parquet

    Args:
        data: folder of the prepared benchmark (default: data/downstream/DATASET, made if missing)
        table: table of benchmarks (default: the one that ships)
        seed: of resampling and splits
        lora: also fine-tune by adapters, with the study's values for contacts (large: on a GPU)
    """
    from plm_scaling.config.downstream import Lora
    from plm_scaling.config.load import FULL_STUDY, read_config
    from plm_scaling.downstream.datasets import PREPARED
    from plm_scaling.downstream.evaluate import evaluate_model
    from plm_scaling.downstream.prepare import fetch_and_prepare
    from plm_scaling.downstream.table import SHIPPED
    from plm_scaling.downstream.text import scores_text
    from plm_scaling.inference.models.describe import describe

    describe(model)  # before minutes of preparing
    folder = data or PREPARED / dataset
    if data is None and not (folder / "task.json").exists():
        fetch_and_prepare(table or SHIPPED, dataset, RAW, folder)
    settings = read_config(FULL_STUDY).downstream
    if lora:
        settings = settings.model_copy(update={"lora": Lora()})
    evaluate_model(model, folder, settings, seed, threads, out)
    scores = out.with_suffix(".json")
    if json:
        print_json(read_json(scores))
    else:
        print(f"{scores_text(scores)}\nscores: {scores}\npredictions: {out}")
