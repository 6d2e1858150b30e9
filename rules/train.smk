"""Train each cell. result.json is written last; curve and checkpoints beside it survive a kill."""

from plm_scaling.sweep.launch import launcher, processes_per_node
from plm_scaling.train import STAGE_VERSION as TRAIN_VERSION

TRAINED = [f"{RESULTS}/runs/{cell}/result.json" for cell in CELLS]


# The layout, what starts it and how often it is saved are parameters of which Snakemake keeps no
# record, because their functions take `threads`: another machine trains no finished cell again.
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
        tasks_per_node=asked("tasks_per_node"),
        cpus_per_task=asked("cpus_per_task"),
    params:
        script=script("train_cell"),
        cell=lambda wildcards: CELLS[wildcards.cell].to_json(),
        init_from=lambda wildcards, input: (
            ["--init-from", os.path.dirname(input.source)] if input.source else []
        ),
        checkpoint_seconds=lambda wildcards, threads: CONFIG.training.checkpoint_seconds,
        stage=TRAIN_VERSION,
        layout=lambda wildcards, threads: LAYOUTS[wildcards.cell].to_json(),
        launcher=lambda wildcards, threads: launcher(LAYOUTS[wildcards.cell], CONFIG.machine),
        # of a process; fewer than the machine's where Snakemake has fewer cores
        threads=lambda wildcards, threads: max(
            1, threads // processes_per_node(LAYOUTS[wildcards.cell], CONFIG.machine)
        ),
    # exec: a scheduler's signal reaches every process of the job, and a shell would die of it and take
    # the cell along while it saves
    shell:
        "OMP_NUM_THREADS={params.threads} exec {params.launcher} {params.script:q}"
        " --cell {params.cell:q} --layout {params.layout:q}"
        " --manifest {input.manifest:q} --threads {params.threads}"
        " --checkpoint-seconds {params.checkpoint_seconds} {params.init_from:q}"
        " --out {output:q} --log {log:q}"
