"""What a job that trains a cell asks for, is given and waits for, and when it starts."""

@cache
def asked_by(cell, attempt):
    """All that a training job asks for."""
    return resources(CELLS[cell], LAYOUTS[cell], MACHINE, attempt)


def asked(name):
    """A resource of a training job, as a function of the job; None for what it does not ask."""
    return inspected(lambda wildcards, attempt: asked_by(wildcards.cell, attempt).get(name))


@cache
def schedule():
    """The cells as jobs, in the order in which they should start."""
    return jobs_in_order(CELLS, LAYOUTS.values(), CONFIG.machine)


def swept():
    """The cells of the sweep, without those that only tune the learning rate."""
    only = tuning_only(CONFIG, STAGES)
    return {name: cell for name, cell in CELLS.items() if name not in only}


def write_schedule():
    """Keep it for `status`, with the stages of which no cell is known yet, and what cells must know of
    the study to be forecast when they start."""
    sweep = CONFIG.sweep
    later = {stage: min(budgets_of(sweep, stage)) for stage in to_place(sweep, STAGES)}
    write_estimates(schedule(), CONFIG.machine, Path(RESULTS, "estimates.json"), later)
    Asked(
        cells=[*swept()],
        extra=[cell.cell for cell in extra_cells(CONFIG, STAGES)],
        final_evaluations=CONFIG.runs.final_evaluations,
        huber_delta=CONFIG.laws.huber_delta,
    ).write(Path(RESULTS, "forecasts.json"))


@cache
def places():
    """The place of each cell in that order, from 0."""
    return {cell: place for place, cell in enumerate(schedule())}


@inspected
def urgency(wildcards):
    """Snakemake's priority of a cell: between 0, that of other rules, and 1, that of the sweep's."""
    return 1 - (1 + places()[wildcards.cell]) / (1 + len(CELLS))


@inspected
def niceness(wildcards):
    """The same for Slurm's queue, where later cells stand a little behind."""
    return f"--nice={places()[wildcards.cell]}"


@cache
def shown(layout):
    """The layout with what a run shows, as the training program takes it."""
    return replace(layout, **CONFIG.training.model_dump(include=SHOWN)).to_json()


@inspected
def start_of(wildcards, input):
    """How a cell is started, how long that may take, how often it is saved and what it shows.

    Snakemake keeps no record of it, because `input` is among the arguments: another machine trains
    no finished cell again. (With `threads` in its place planning a job would work out all its resources.)
    """
    layout = LAYOUTS[wildcards.cell]
    return {
        "launcher": launcher(layout, MACHINE, f"{RESULTS}/runs/{wildcards.cell}/{LOCK}"),
        "processes": processes_per_node(layout, MACHINE),
        "layout": shown(layout),
        "checkpoint_seconds": CONFIG.training.checkpoint_seconds,
    }


@inspected
def cell_of(wildcards):
    """A cell as the training program takes it."""
    return CELLS[wildcards.cell].to_json()


@inspected
def source_run(wildcards):
    """The record of the cell that a transferred one starts from."""
    source = CELLS[wildcards.cell].init_from
    return f"{RESULTS}/runs/{source}/result.json" if source else []


def trained(wildcards):
    """The records of all cells, once all stages are placed."""
    check_files()
    have_placed(STAGES_LEFT)
    return records_of(CELLS)


def records(wildcards):
    """All cells' records; for the laws, unless training is asked for too, though it were outdated."""
    cells = trained(wildcards)
    return as_they_are(cells) if fits_only() else cells
