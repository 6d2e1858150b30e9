"""Stages of the sweep after the first: placed by its earlier cells once these have ended."""

STAGES_LEFT = to_place(CONFIG.sweep, STAGES)  # no rule can make again what is there already

# What targets ask for besides their tables. Snakemake would ask for the cells that wait for no stage only
# when all stages are placed, and takes a table that is there from before as made while what it needs is a
# stage to come.
STAGED = [*records_of(CELLS), trained] if STAGES_LEFT else []


def have_placed(stages):
    """Know the cells of these stages; Snakemake asks again when the first of them has been placed."""
    for stage in stages:
        placed = checkpoints.place_stage.get(stage=stage).output[0]
        if stage not in STAGES and not take_cells(placed):
            return


def take_cells(placed):
    """Take the cells of a stage that was placed during this run among those to train; False if one of
    them cannot be, which ends the run."""
    try:
        stages = read_stages(Path(placed).parent, CONFIG.sweep)
        planned = plan_cells(CONFIG, stages)
        new = [cell for name, cell in planned.items() if name not in CELLS]
        chosen = {cell.cell: one for cell, one in zip(new, choose_layouts(new, CONFIG.machine))}
        check_machine(chosen)
    except PlmScalingError as error:
        end_run(f"stage {Path(placed).stem}: {error}")
        return False
    STAGES.update(stages)
    CELLS.clear()
    CELLS.update(planned)
    layouts = LAYOUTS | chosen
    LAYOUTS.clear()
    LAYOUTS.update((name, layouts[name]) for name in CELLS)  # in the order of the cells
    schedule.cache_clear()
    places.cache_clear()
    if workflow.is_main_process and may_train():
        check_or_end(supply(), new, f"stage {Path(placed).stem}: ")
    if may_train() and not workflow.dryrun:
        write_schedule()
    return True


def earlier_records(wildcards):
    """The records of all cells of the stages before and of those that tune; of those that have ended,
    where the next stage is asked for by hand."""
    stage = int(wildcards.stage)
    have_placed(before for before in STAGES_LEFT if before < stage)
    earlier = {number: record for number, record in STAGES.items() if number < stage}
    found = records_of(awaited_cells(CONFIG, earlier))
    if "next_stage" in workflow.dag_settings.targets and stage == STAGES_LEFT[0]:
        return as_they_are(filter(os.path.exists, found))
    return found


if STAGES_LEFT:

    checkpoint place_stage:
        input:
            earlier_records,
            sweep=f"{RESULTS}/sweep.tsv",
        output:
            f"{RESULTS}/stages/{{stage}}.json",
        log:
            f"logs/{CONFIG.study}/place_stage.{{stage}}.log",
        wildcard_constraints:
            stage="|".join(map(str, STAGES_LEFT)),
        localrule: True
        conda:
            "../envs/analysis.yaml"
        params:
            script=script("place_stage"),
            blocks=lambda wildcards: CONFIG.model_dump_json(include=set(SWEEP_BLOCKS)),
            laws=lambda wildcards: CONFIG.laws.model_dump_json(),
            final_evaluations=CONFIG.runs.final_evaluations,
            runs=lambda wildcards: f"{RESULTS}/runs",
            tokens=lambda wildcards: str(MANIFEST),
        shell:
            "python {params.script:q} --blocks {params.blocks:q} --laws {params.laws:q}"
            " --final-evaluations {params.final_evaluations} --runs {params.runs:q}"
            " --sweep {input.sweep:q} --tokens {params.tokens:q} --out {output:q} --log {log:q}"
