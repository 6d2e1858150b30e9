"""What the cells, and public models beside them, are good for: results/{study}/downstream/.

It never trains and runs no data stage: cells are evaluated as they are.
"""

from plm_scaling.downstream import STAGE_VERSION as DOWNSTREAM_VERSION
from plm_scaling.figures import downstream_figures

RELEASED = ROOT / "resources/downstream/published.tsv"


wildcard_constraints:
    dataset="[A-Za-z0-9][A-Za-z0-9_.-]*",
    model="[A-Za-z0-9][A-Za-z0-9_.-]*",


rule fetch_task:
    output:
        "data/raw/downstream/{file}",
    log:
        "logs/downstream/fetch.{file}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(600),
    params:
        script=script("fetch_task"),
        table=str(BENCHMARKS),
        facts=lambda wildcards: TASK_FILES[wildcards.file].facts,
        dataset=lambda wildcards: TASK_FILES[wildcards.file].name,
    shell:
        "python {params.script:q} --table {params.table:q} --dataset {params.dataset:q}"
        " --file {wildcards.file:q} --out {output:q} --log {log:q}"


rule prepare_task:
    input:
        task_files,
    output:
        multiext("data/downstream/{dataset}/", "items.parquet", "counts.tsv", "task.json"),
    log:
        "logs/downstream/prepare.{dataset}.log",
    conda:
        "../envs/train-gpu.yaml"
    resources:
        mem_mb=grows(8000),
        runtime=grows(120),
    params:
        script=script("prepare_task"),
        table=str(BENCHMARKS),
        row=lambda wildcards: DATASETS[wildcards.dataset].facts,
        dataset=dataset_of,
        raw="data/raw/downstream",
        folder=subpath(output[0], parent=True),
        stage=DOWNSTREAM_VERSION,
    shell:
        "python {params.script:q} --table {params.table:q} --dataset {params.dataset:q}"
        " --raw {params.raw:q} --out {params.folder:q} --log {log:q}"


rule write_tests:
    input:
        "data/downstream/{dataset}/items.parquet",
    output:
        "data/downstream/{dataset}.tests.fasta",
    log:
        "logs/downstream/write_tests.{dataset}.log",
    localrule: True
    conda:
        "../envs/data.yaml"
    params:
        script=script("write_tests"),
        data=subpath(input[0], parent=True),
        stage=DOWNSTREAM_VERSION,
    shell:
        "python {params.script:q} --data {params.data:q} --out {output:q} --log {log:q}"


rule expose_task:
    input:
        examples="data/downstream/{dataset}/items.parquet",
        split=as_they_are(map(str, SPLIT)),  # copies: marks of theirs would be of the split's rule, too
    output:
        f"data/downstream/{{dataset}}/exposure.{CONFIG.data.name}.parquet",
    log:
        f"logs/downstream/expose.{{dataset}}.{CONFIG.data.name}.log",
    conda:
        "../envs/mmseqs2.yaml"
    threads: 64
    resources:
        mem_mb=grows(8000),
        runtime=grows(1440),
    params:
        script=script("expose_task"),
        data=subpath(input.examples, parent=True),
        pool=f"{DATA}/pool/protein",
        split=lambda wildcards, input: os.path.dirname(input.split[0]),
        mmseqs=CONFIG.mmseqs.path,
        settings=settings(CONFIG.split, LeakageCheck),
        stage=DOWNSTREAM_VERSION,
    shell:
        "python {params.script:q} --data {params.data:q} --pool {params.pool:q}"
        " --split {params.split:q} --settings {params.settings:q} --threads {threads}"
        " --memory-mb {resources.mem_mb} --scratch {resources.tmpdir:q}"
        " --mmseqs {params.mmseqs:q} --out {output:q} --log {log:q}"


rule make_untrained:
    output:
        f"{RESULTS}/untrained/{{cell}}/result.json",
    log:
        f"logs/{CONFIG.study}/untrained/{{cell}}.log",
    conda:
        "../envs/train-gpu.yaml"
    threads: MACHINE.threads
    resources:
        mem_mb=asked("mem_mb"),
        runtime=grows(60),
    params:
        script=script("make_untrained"),
        cell=lambda wildcards: CELLS[wildcards.cell].to_json(),
        stage=TRAIN_VERSION,
    shell:
        "OMP_NUM_THREADS={threads} python {params.script:q} --cell {params.cell:q}"
        " --threads {threads} --out {output:q} --log {log:q}"


rule evaluate_model:
    input:
        weights=weights_of,
        examples="data/downstream/{dataset}/items.parquet",
        bins=bins_of,
    output:
        scores=f"{BENCHMARK}/{{model}}/{{dataset}}.json",
        table=f"{BENCHMARK}/{{model}}/{{dataset}}.parquet",
    log:
        f"logs/{CONFIG.study}/downstream/{{model}}.{{dataset}}.log",
    benchmark:
        f"logs/benchmarks/{CONFIG.study}/downstream/{{model}}.{{dataset}}.tsv"
    wildcard_constraints:
        dataset=rf"(?!{JUDGED}\.)[A-Za-z0-9][A-Za-z0-9_.-]*",  # which the rules below make
    conda:
        "../envs/train-gpu.yaml"
    threads: MACHINE.threads
    resources:
        mem_mb=grows(16000 if MACHINE.backend == "cuda" else 4000),
        runtime=grows(1440),
        gpu=lambda wildcards: 1 if MACHINE.backend == "cuda" else None,
    params:
        script=script("evaluate_model"),
        model=folder_of,
        data=subpath(input.examples, parent=True),
        reads=read_by,
        settings=all_settings,
        seed=CONFIG.seed,
        start=f"{ON_ONE_GPU} python" if MACHINE.backend == "cuda" else "python",
        stage=DOWNSTREAM_VERSION,
    shell:
        "OMP_NUM_THREADS={threads} {params.start} {params.script:q} --model {params.model:q}"
        " --data {params.data:q} --settings {params.settings:q} --seed {params.seed}"
        " --threads {threads} --exposure {input.bins:q} --out {output.table:q} --log {log:q}"


rule generate_proteins:
    input:
        weights=weights_of,
        split=as_they_are(map(str, SPLIT)),
    output:
        proteins=f"{BENCHMARK}/{{model}}/{JUDGED}.fasta",
        how=f"{BENCHMARK}/{{model}}/{JUDGED}.fasta.json",
    log:
        f"logs/{CONFIG.study}/downstream/{{model}}.generate_proteins.log",
    benchmark:
        f"logs/benchmarks/{CONFIG.study}/downstream/{{model}}.generate_proteins.tsv"
    conda:
        "../envs/train-gpu.yaml"
    threads: MACHINE.threads
    resources:
        mem_mb=grows(16000 if MACHINE.backend == "cuda" else 4000),
        runtime=grows(1440),
        gpu=lambda wildcards: 1 if MACHINE.backend == "cuda" else None,
    params:
        script=script("generate_proteins"),
        model=folder_of,
        settings=drawn(),
        pool=f"{DATA}/pool/protein",
        split=lambda wildcards, input: os.path.dirname(input.split[0]),
        seed=CONFIG.seed,
        start=f"{ON_ONE_GPU} python" if MACHINE.backend == "cuda" else "python",
        stage=DOWNSTREAM_VERSION,
    shell:
        "OMP_NUM_THREADS={threads} {params.start} {params.script:q} --model {params.model:q}"
        " --settings {params.settings:q} --pool {params.pool:q} --split {params.split:q}"
        " --seed {params.seed} --threads {threads} --out {output.proteins:q} --log {log:q}"


rule measure_proteins:
    input:
        proteins=proteins_of,
        models=models_there,
        split=as_they_are(map(str, SPLIT)),
    output:
        f"{BENCHMARK}/{{of}}.measured.npz",
    log:
        f"logs/{CONFIG.study}/downstream/{{of}}.measure_proteins.log",
    benchmark:
        f"logs/benchmarks/{CONFIG.study}/downstream/{{of}}.measure_proteins.tsv"
    wildcard_constraints:
        of=rf"natural|shuffled|[A-Za-z0-9][A-Za-z0-9_.-]*/{JUDGED}",
    conda:
        "../envs/train-gpu.yaml"
    threads: MACHINE.threads
    resources:
        mem_mb=grows(memory_of_others()),
        runtime=grows(1440),
        gpu=lambda wildcards: 1 if MACHINE.backend == "cuda" else None,
    params:
        script=script("measure_proteins"),
        proteins=lambda wildcards, input: input.proteins or wildcards.of,
        number=CONFIG.downstream.generation.number if CONFIG.downstream.generation else 0,
        by=other_models(),
        pool=f"{DATA}/pool/protein",
        split=lambda wildcards, input: os.path.dirname(input.split[0]),
        seed=CONFIG.seed,
        start=f"{ON_ONE_GPU} python" if MACHINE.backend == "cuda" else "python",
        stage=DOWNSTREAM_VERSION,
    shell:
        "OMP_NUM_THREADS={threads} {params.start} {params.script:q} --proteins {params.proteins:q}"
        " --number {params.number:q} {params.by:q} --pool {params.pool:q} --split {params.split:q}"
        " --seed {params.seed} --threads {threads} --out {output:q} --log {log:q}"


rule judge_proteins:
    input:
        proteins=rules.generate_proteins.output.proteins,
        how=rules.generate_proteins.output.how,
        measured=measurements,
        split=as_they_are(map(str, SPLIT)),
    output:
        table=f"{BENCHMARK}/{{model}}/{JUDGED}.tsv",
        scores=f"{BENCHMARK}/{{model}}/{JUDGED}.json",
    log:
        f"logs/{CONFIG.study}/downstream/{{model}}.judge_proteins.log",
    benchmark:
        f"logs/benchmarks/{CONFIG.study}/downstream/{{model}}.judge_proteins.tsv"
    conda:
        "../envs/mmseqs2.yaml"
    threads: 64
    resources:
        mem_mb=grows(8000),
        runtime=grows(1440),
    params:
        script=script("judge_proteins"),
        model=folder_of,
        pool=f"{DATA}/pool/protein",
        split=lambda wildcards, input: os.path.dirname(input.split[0]),
        seed=CONFIG.seed,
        mmseqs=CONFIG.mmseqs.path,
        stage=DOWNSTREAM_VERSION,
    shell:
        "python {params.script:q} --proteins {input.proteins:q} --model {params.model:q}"
        " --pool {params.pool:q} --split {params.split:q} --seed {params.seed}"
        " --measured {input.measured:q}"
        " --threads {threads} --memory-mb {resources.mem_mb} --scratch {resources.tmpdir:q}"
        " --mmseqs {params.mmseqs:q} --out {output.table:q} --log {log:q}"


rule collect_downstream:
    input:
        records=evaluations,
        exposures=exposures,
    output:
        scores=f"{BENCHMARK}/scores.csv",
        groups=f"{BENCHMARK}/groups.csv",
    log:
        f"logs/{CONFIG.study}/collect_downstream.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        script=script("collect_downstream"),
        runs=f"{RESULTS}/runs",
        laws=f"{RESULTS}/laws",
        final_evaluations=CONFIG.runs.final_evaluations,
        stage=DOWNSTREAM_VERSION,
    shell:
        "python {params.script:q} --records {input.records:q} --exposures {input.exposures:q}"
        " --runs {params.runs:q} --final-evaluations {params.final_evaluations}"
        " --laws {params.laws:q} --out {output.scores:q} --out-groups {output.groups:q} --log {log:q}"


ruleorder: fit_downstream > fit_law


OF_LOSS = next(
    (law for law in ("isoflop", "parametric", "frontier") if law in CONFIG.laws.fits), ""
)


rule fit_downstream:
    input:
        scores=rules.collect_downstream.output.scores,
        frontier=f"{LAWS_FROM}/laws/{{objective}}.{OF_LOSS}.json" if OF_LOSS else [],
    output:
        f"{RESULTS}/laws/{{objective}}.downstream.json",
    log:
        f"logs/{CONFIG.study}/fit_downstream.{{objective}}.log",
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(60),
    params:
        script=script("fit_downstream"),
        study=CONFIG.study,
        bootstrap=CONFIG.laws.bootstrap,
        level=CONFIG.laws.level,
        seed=CONFIG.seed,
        stage=[DOWNSTREAM_VERSION, LAWS_VERSION],
    shell:
        "OMP_NUM_THREADS={threads} python {params.script:q} --scores {input.scores:q}"
        " --objective {wildcards.objective} --study {params.study:q} --frontier {input.frontier:q}"
        " --bootstrap {params.bootstrap} --level {params.level} --seed {params.seed}"
        " --out {output:q} --log {log:q}"


DOWNSTREAM_FIGURES = downstream_figures(
    {DATASETS[name].task for name in CONFIG.downstream.datasets}
    | ({JUDGED} if CONFIG.downstream.generation else set())
)


rule draw_downstream:
    input:
        scores=rules.collect_downstream.output.scores,
        groups=rules.collect_downstream.output.groups,
        laws=scored,
    output:
        expand(
            f"{RESULTS}/figures/{{name}}.{{format}}",
            name=DOWNSTREAM_FIGURES,
            format=FORMATS,
        ),
    log:
        f"logs/{CONFIG.study}/draw_downstream.log",
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(30),
    params:
        script=script("draw_downstream"),
        published=RELEASED,
        published_sha256=sha256_of(RELEASED),
        folder=subpath(output[0], parent=True),
        stage=[DOWNSTREAM_VERSION, FIGURES_VERSION],
    shell:
        "python {params.script:q} --scores {input.scores:q} --groups {input.groups:q}"
        " --laws {input.laws:q} --published {params.published:q} --out {params.folder:q}"
        " --log {log:q}"
