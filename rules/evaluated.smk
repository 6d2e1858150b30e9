"""Which models are evaluated on which benchmarks, and the files of both."""

from plm_scaling.common.progress import many
from plm_scaling.config.downstream import Drawn
from plm_scaling.downstream.tasks import TASKS
from plm_scaling.downstream.cells import chosen_cells, making, models_for, untrained_cells
from plm_scaling.downstream.models import is_causal
from plm_scaling.runs.scores import JUDGED, of_former_config, read_scores

BENCHMARK = f"{RESULTS}/downstream"
UNTRAINED = "untrained-"

TASK_FILES = {
    row.file: row for dataset in DATASETS.values() for row in dataset.files if not row.path
}


@cache
def evaluated():
    """Names of the models."""
    try:
        how = CONFIG.downstream.cells
        cells = swept() if isinstance(how, str) else CELLS
        chosen = chosen_cells(cells, Path(RESULTS, "runs"), how)
    except PlmScalingError as error:
        sys.exit(f"error: {error}")
    for name, folder in CONFIG.downstream.models.items():
        if not os.path.isdir(folder):
            sys.exit(f"error: downstream.models.{name}: {folder} is no folder; put the model there")
    first = untrained_cells(CELLS, chosen) if CONFIG.downstream.untrained else []
    return [*chosen, *(f"{UNTRAINED}{cell}" for cell in first), *CONFIG.downstream.models]


def causal_model(name):
    """Whether a model that is evaluated gives probabilities of a next residue."""
    if name in CONFIG.downstream.models:
        return is_causal(Path(CONFIG.downstream.models[name]))
    return CELLS[name.removeprefix(UNTRAINED)].objective == "clm"


@cache
def evaluated_on(dataset):
    """Names of the models that are evaluated on a dataset; those that cannot be are said once."""
    models = {name: causal_model(name) for name in evaluated()}
    try:
        able = models_for(DATASETS[dataset], models)
    except PlmScalingError as error:
        sys.exit(f"error: {error}")
    if left := len(models) - len(able):
        logger.warning(
            f"{dataset}: without {many(left, 'masked model')}, as masked models have no likelihood of "
            "insertions and deletions"
        )
    return able


@cache
def makers():
    """Names of the models whose proteins are judged."""
    how = CONFIG.downstream.generation
    if how is None:
        return []
    if missing := [name for name in SPLIT if not os.path.exists(name)]:
        sys.exit(
            "error: downstream.generation compares with the study's training set, which is not here "
            f"({missing[0]}); make the data, or set it to null"
        )
    cells = [name for name in evaluated() if name in CELLS]
    first = [n.removeprefix(UNTRAINED) for n in evaluated() if n.startswith(UNTRAINED)]
    best, first = making(CELLS, Path(RESULTS, "runs"), cells, first, how.cells)
    causal = [name for name in CONFIG.downstream.models if causal_model(name)]
    if not best and not causal:
        sys.exit("error: downstream.generation: no causal model is evaluated; set it to null")
    return [*best, *(f"{UNTRAINED}{cell}" for cell in first), *causal]


def folder_of(wildcards):
    """The folder of a model."""
    name = wildcards.model
    if name in CONFIG.downstream.models:
        return CONFIG.downstream.models[name]
    if name.startswith(UNTRAINED):
        return f"{RESULTS}/untrained/{name.removeprefix(UNTRAINED)}"
    return f"{RESULTS}/runs/{name}"


def evaluations(wildcards):
    """The records of all models on all datasets, and of the proteins that they make."""
    if not CONFIG.downstream.datasets and CONFIG.downstream.generation is None:
        sys.exit(
            "error: downstream.datasets is empty; name some of resources/downstream.tsv: "
            + ", ".join(DATASETS)
        )
    for name in CONFIG.downstream.datasets:
        for row in DATASETS[name].files:
            if row.path and not os.path.exists(row.path):
                sys.exit(
                    f"error: downstream dataset {name}: {row.path} does not exist; put it there"
                )
    advise()
    return [
        *(
            f"{BENCHMARK}/{model}/{dataset}.json"
            for dataset in CONFIG.downstream.datasets
            for model in evaluated_on(dataset)
        ),
        *expand(rules.judge_proteins.output.scores, model=makers()),
    ]


@cache
def advise():
    """Say once which structures training may know."""
    kept = {os.path.abspath(SOURCE[name].path) for name in DOWNSTREAM if SOURCE[name].path}
    for name in CONFIG.downstream.datasets:
        is_structure = TASKS[DATASETS[name].task].structure
        ours = tests_of(name), PREPARED / name / EARLIER_TESTS
        if is_structure and kept.isdisjoint(map(os.path.abspath, ours)):
            logger.warning(advice(name, DOWNSTREAM))


def dataset_of(wildcards):
    """A dataset as programs take it: a name in the table, or in JSON what the config declares."""
    name = wildcards.dataset
    return json.dumps({name: OWN_DATASETS[name]}) if name in OWN_DATASETS else name


def exposures(wildcards):
    """Where the training set is here: what of each dataset is in it."""
    if not all(map(os.path.exists, SPLIT)):
        return []
    return expand(rules.expose_task.output, dataset=CONFIG.downstream.datasets)


def bins_of(wildcards):
    """Where the training set is here: what the items of perplexity are binned by."""
    if not task_of(wildcards).binned or not all(map(os.path.exists, SPLIT)):
        return []
    return expand(rules.expose_task.output, dataset=wildcards.dataset)


def task_of(wildcards):
    """The task of a dataset."""
    return TASKS[DATASETS[wildcards.dataset].task]


def read_by(wildcards):
    """What a task reads of the settings: another value evaluates its datasets again, no others."""
    blocks = task_of(wildcards).blocks
    if not blocks:
        return ""
    return CONFIG.downstream.model_dump_json(include=set(blocks), exclude_none=True)


def drawn():
    """How proteins are drawn, as a parameter; neither how many models make some nor what judges them."""
    how = CONFIG.downstream.generation
    return settings(how, Drawn) if how else ""


def other_models():
    """Options of the program that measures proteins by other models: what the config names of them."""
    how = CONFIG.downstream.generation
    if how is None:
        return []
    by = how.perplexity_by
    named = {
        "perplexity-by": CONFIG.downstream.models.get(
            by, f"{RESULTS}/runs/{by}" if by in CELLS else by
        ),
        "esmfold": how.esmfold,
        "structures": how.structures,
    }
    return [word for name, place in named.items() if place for word in (f"--{name}", place)]


def memory_of_others():
    """MB that the program needs: ESMFold has 3.5 billion parameters of 4 bytes, 14 GB."""
    if "--esmfold" in other_models():
        return 24000
    return 16000 if MACHINE.backend == "cuda" else 4000


def models_there(wildcards):
    """Of what is named of them what there is, of a cell its record: once a folder is put there, or the
    cell has finished, it measures again."""
    places = other_models()[1::2]
    cells = [place for place in places if place.startswith(f"{RESULTS}/runs/")]
    records = [f"{cell}/result.json" for cell in cells]
    folders = [ancient(place) for place in places if place not in cells and os.path.exists(place)]
    return [*folders, *as_they_are(filter(os.path.exists, records))]


def proteins_of(wildcards):
    """The proteins that are measured, of a model; natural and shuffled ones are drawn by the job."""
    made = f"{BENCHMARK}/{wildcards.of}.fasta"
    return [] if wildcards.of in ("natural", "shuffled") else made


def measurements(wildcards):
    """What other models say of a model's proteins, natural and shuffled ones, where some are named."""
    of = [f"{wildcards.model}/{JUDGED}", "natural", "shuffled"]
    return expand(f"{BENCHMARK}/{{of}}.measured.npz", of=of) if other_models() else []


def all_settings(wildcards, input):
    """Of all tasks. Snakemake keeps no record of it, because `input` is among the arguments."""
    return settings(CONFIG.downstream, TaskSettings)


def weights_of(wildcards):
    """The record of a run to evaluate; of a public model nothing that a rule makes."""
    name = wildcards.model
    if name in CONFIG.downstream.models:
        return []
    record = f"{folder_of(wildcards)}/result.json"
    return record if name.startswith(UNTRAINED) else as_they_are([record])


def task_files(wildcards):
    """The files of a dataset; those of this machine are where the table says."""
    rows = DATASETS[wildcards.dataset].files
    return [row.path or f"data/raw/downstream/{row.file}" for row in rows]


def files_of_tests(wildcards):
    """What is fetched of the benchmarks whose test proteins are kept out of training."""
    names = (name.removesuffix(OF_TESTS) for name in TESTS)
    return [
        f"data/raw/downstream/{row.file}"
        for name in names
        if name in DATASETS
        for row in DATASETS[name].files
        if not row.path
    ]


def scored(wildcards):
    """The laws of the objectives whose cells are evaluated on benchmarks."""
    models = {name for dataset in CONFIG.downstream.datasets for name in evaluated_on(dataset)}
    objectives = {CELLS[name].objective for name in models if name in CELLS}
    return expand(rules.fit_downstream.output, objective=sorted(objectives))


@cache
def scores_are_current():
    """Whether there are scores of what the config names. Other cells may have finished since; those of a
    former config are said once."""
    table, own = Path(f"{BENCHMARK}/scores.csv"), CONFIG.downstream
    datasets = [*own.datasets, *([JUDGED] if own.generation else [])]
    if not table.exists():
        return False
    if not datasets:
        logger.warning(
            f"{table} is of another config: this one names no benchmark (downstream.datasets) and makes "
            "no proteins (downstream.generation); the report leaves scores out"
        )
        return False
    cells = CELLS if isinstance(own.cells, str) else own.cells
    before = [f"{UNTRAINED}{cell}" for cell in CELLS] if own.untrained else []
    try:
        former = of_former_config(read_scores(table), datasets, {*cells, *before, *own.models})
    except PlmScalingError as error:
        sys.exit(f"error: {error}")
    if former:
        logger.warning(
            f"{table} is of another config ({', '.join(former[:3])}{' …' * (len(former) > 3)}): the "
            "report leaves scores out until `snakemake downstream` has gathered them again"
        )
    return not former


def scores_there_are(name):
    """A file of the scores as it is, or nothing where there are none of this config: the report
    evaluates no model, unless the scores are asked for in the same run."""

    def files(wildcards):
        if "downstream" in workflow.dag_settings.targets:
            asked = {
                "scores": rules.collect_downstream.output.scores,
                "laws": scored(wildcards),
                "figures": rules.draw_downstream.output,
            }
            return asked[name]
        if not scores_are_current():
            return []
        known = {
            "scores": [rules.collect_downstream.output.scores],
            "laws": sorted(map(str, Path(RESULTS, "laws").glob("*.downstream.json"))),
            "figures": sorted(filter(os.path.exists, rules.draw_downstream.output)),
        }
        return as_they_are(known[name])

    return files
