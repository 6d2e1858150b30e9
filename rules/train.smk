"""Train each cell. result.json is written last; curve and checkpoints beside it survive a kill."""

from plm_scaling.train import STAGE_VERSION as TRAIN_VERSION


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
    priority: urgency
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
        slurm_extra=niceness,
    params:
        script=script("train_cell"),
        cell=cell_of,
        stage=TRAIN_VERSION,
        start=start_of,
    # Threads are of a process: fewer than the machine's where Snakemake has fewer cores.
    # exec: a scheduler's signal reaches every process of the job, and a shell would die of it and take
    # the cell along while it saves
    shell:
        "threads=$(({threads} > {params.start[processes]} ? {threads} / {params.start[processes]} : 1));"
        " OMP_NUM_THREADS=$threads exec {params.start[launcher]} {params.script:q}"
        " --cell {params.cell:q} --layout {params.start[layout]:q}"
        " --manifest {input.manifest:q} --threads $threads"
        " --checkpoint-seconds {params.start[checkpoint_seconds]} --init-from {input.source:q}"
        " --out {output:q} --log {log:q}"
