"""The machine of the config, as it is here: a box whose GPUs are shared out, or a scheduler's nodes."""


def is_box(machine):
    """Whether Snakemake itself runs the cells, on the GPUs of one machine (and not in an allocation of several)."""
    alone = int(os.environ.get("SLURM_JOB_NUM_NODES", 1)) == 1
    return machine.backend == "cuda" and alone and not workflow.nodes and workflow.is_main_process


def machine_here(machine):
    """The machine of the config; of a box with a share of its cores for each process.

    GPUs of the box, those given or all, become a resource of the run: as many cells run side by side as
    there are GPUs for.
    """
    if not is_box(machine):
        return machine
    if "gpu" not in workflow.global_resources and (found := len(visible_gpus())):
        workflow.register_resource("gpu", found)
    cores, gpus = (
        getattr(workflow.global_resources.get(name), "value", None) for name in ("_cores", "gpu")
    )
    return beside_others(machine, cores, gpus) if cores and gpus else machine


def check_machine(layouts):
    """Raise `SweepError` if this machine cannot start one of these cells."""
    check_launcher(layouts.values(), MACHINE)
    if not workflow.non_local_exec and is_box(MACHINE) and "gpu" in workflow.global_resources:
        check_box(layouts, MACHINE, workflow.global_resources["gpu"].value)
