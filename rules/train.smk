"""Train each cell. result.json is written last; curve and checkpoints beside it survive a kill."""

from plm_scaling.sweep.launch import launcher, processes_per_node
from plm_scaling.train import STAGE_VERSION as TRAIN_VERSION

TRAINED = [f"{RESULTS}/runs/{cell}/result.json" for cell in CELLS]


# The layout, what starts it and how often it is saved are parameters of which Snakemake keeps no
# record, because their functions take `input`: another machine trains no finished cell again. (So it
# would be with `threads`, but then planning a job would work out all its resources.)
rule train_cell:
    input:
        manifest=f"{DATA}/tokens/manifest.json",
        source=source_run,
    output:
        f"{RESULTS}/runs/{{cell}}/result.json",
    log:
        f"logs/{CONFIG.study}/train/{{cell}}.log",
    benchmark:
        f"logs/benchmarks/{CONFIG.study}/train/{{cell}}.tsv"
    conda:
        "../envs/train-gpu.yaml"
    threads: asked("threads")
    resources:
        mem_mb=asked("mem_mb"),
        runtime=asked("runtime"),
        gpu=asked("gpu"),
        nodes=asked("nodes"),
        mpi=asked("mpi"),
        tasks=asked("tasks"),
        tasks_per_node=asked("tasks_per_node"),
        tasks_per_gpu=asked("tasks_per_gpu"),
        cpus_per_task=asked("cpus_per_task"),
    params:
        script=script("train_cell"),
        cell=lambda wildcards: CELLS[wildcards.cell].to_json(),
        init_from=lambda wildcards, input: (
            ["--init-from", os.path.dirname(input.source)] if input.source else []
        ),
        checkpoint_seconds=lambda wildcards, input: CONFIG.training.checkpoint_seconds,
        stage=TRAIN_VERSION,
        layout=lambda wildcards, input: LAYOUTS[wildcards.cell].to_json(),
        launcher=lambda wildcards, input: launcher(LAYOUTS[wildcards.cell], CONFIG.machine),
        processes=lambda wildcards, input: processes_per_node(
            LAYOUTS[wildcards.cell], CONFIG.machine
        ),
    # Threads are of a process: fewer than the machine's where Snakemake has fewer cores.
    # exec: a scheduler's signal reaches every process of the job, and a shell would die of it and take
    # the cell along while it saves
    shell:
        "threads=$(({threads} > {params.processes} ? {threads} / {params.processes} : 1));"
        " OMP_NUM_THREADS=$threads exec {params.launcher} {params.script:q}"
        " --cell {params.cell:q} --layout {params.layout:q}"
        " --manifest {input.manifest:q} --threads $threads"
        " --checkpoint-seconds {params.checkpoint_seconds} {params.init_from:q}"
        " --out {output:q} --log {log:q}"
