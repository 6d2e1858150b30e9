"""Train each cell. result.json is written last; curve and checkpoints beside it survive a kill."""

from plm_scaling.train import STAGE_VERSION as TRAIN_VERSION

TRAINED = [f"{RESULTS}/runs/{cell}/result.json" for cell in CELLS]


def source_run(wildcards):
    """The record of the cell that a transferred one starts from."""
    source = CELLS[wildcards.cell].init_from
    return f"{RESULTS}/runs/{source}/result.json" if source else []


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
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * memory_mb(CELLS[wildcards.cell]),
        runtime=lambda wildcards, attempt: attempt * 2880,
    params:
        script=script("train_cell"),
        cell=lambda wildcards: CELLS[wildcards.cell].to_json(),
        init_from=lambda wildcards, input: (
            ["--init-from", os.path.dirname(input.source)] if input.source else []
        ),
        checkpoint_seconds=CONFIG.training.checkpoint_seconds,
        stage=TRAIN_VERSION,
    shell:
        "OMP_NUM_THREADS={threads} python {params.script:q} --cell {params.cell:q}"
        " --manifest {input.manifest:q} --threads {threads}"
        " --checkpoint-seconds {params.checkpoint_seconds} {params.init_from:q}"
        " --out {output:q} --log {log:q}"
