"""The cells as a table, and the bill."""

SWEEP_BLOCKS = ("seed", "corpora", "tokens", "sweep", "training")


rule plan_sweep:
    output:
        f"{RESULTS}/sweep.tsv",
    log:
        f"logs/{CONFIG.study}/plan_sweep.log",
    priority: 1  # first: training reads "cell k of n" from it, without depending on it
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        script=script("plan_sweep"),
        blocks=lambda wildcards, threads: CONFIG.model_dump_json(include=set(SWEEP_BLOCKS)),
        computed=computed(*SWEEP_BLOCKS),
    shell:
        "python {params.script:q} --blocks {params.blocks:q} --out {output:q} --log {log:q}"


rule plan:
    input:
        f"{RESULTS}/sweep.tsv",
    log:
        f"logs/{CONFIG.study}/plan.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        script=script("show_plan"),
        machine=lambda wildcards: CONFIG.machine.model_dump_json(),  # its braces are no wildcards
        blocks=lambda wildcards: CONFIG.model_dump_json(include=set(SWEEP_BLOCKS)),
        supply=lambda wildcards: supply_json(),
    shell:
        "python {params.script:q} --sweep {input:q} --machine {params.machine:q}"
        " --blocks {params.blocks:q} --supply {params.supply:q} --log {log:q}"
