"""A study for our executor whose cells are a line of shell each."""


def snakefile(shell: str) -> str:
    """Its Snakefile, with the names of the real one; the cells are those of `--config cells=…`."""
    return f"""
rule train:
    input:
        expand("runs/{{cell}}/result.json", cell=config["cells"].split()),

rule train_cell:
    output:
        "runs/{{cell}}/result.json",
    params:
        config.get("setting"),
    log:
        "logs/{{cell}}.log",
    shell:
        "{shell}"
"""
