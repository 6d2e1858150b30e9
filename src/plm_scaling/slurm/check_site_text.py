"""What `plm-scaling check-site` says, and the block for the profile that follows from it."""

import platform
from collections.abc import Iterable
from datetime import date

from plm_scaling.common.progress import short_bytes
from plm_scaling.slurm.ask import number
from plm_scaling.slurm.check_site import MINUTES, Site, Trial
from plm_scaling.slurm.limits import NodeKind, Partition, least
from plm_scaling.study.hardware import GPUS

MOST_JOBS = 200  # at a time, whatever Slurm allows
SECONDS_SQUEUE_NEEDS = 200  # for which a job that ended must be listed


def site_text(site: Site) -> str:
    """A table of the partitions, what to look at, and what could not be found out."""
    blocks = [_table(site.trials)]
    for title, lines in (
        ("Found", _found(site)),
        ("To be looked at", _faults(site)),
        ("Could not be found out", _unknown(site)),
    ):
        if lines:
            blocks.append("\n".join([f"{title}:", *(f"  - {line}" for line in lines)]))
    return "\n\n".join(blocks)


def profile_text(site: Site) -> str:
    """Keys to be appended to profiles/slurm/config.yaml; a comment where something is unknown."""
    data, gpu = _best(site, gpus=False), _best(site, gpus=True)
    jobs = _jobs(site)
    cores = max((kind.cpus for kind in data.partition.kinds), default=None) if data else None
    account = site.account or site.limits.account_of({}).name
    lines = [
        f"# plm-scaling check-site on {platform.node()}, {date.today().isoformat()}; of keys of "
        "the same name the last counts with all below it, so this can be appended.",
        f"jobs: {min(jobs or MOST_JOBS, MOST_JOBS)} # submitted at a time",
        "default-resources:",
        "  mem_mb: 2000",
        "  runtime: 60 # minutes",
        f"  slurm_account: {account}" if account else "  # slurm_account: ACCOUNT # not found out",
        f"  slurm_partition: {data.partition.name}"
        if data
        else "  # slurm_partition: PARTITION # no job ran in any",
    ]
    if data and data.node and not data.node.home_writable:
        lines.append("# before snakemake: export XDG_CACHE_HOME=FOLDER, which nodes can write")
    memory = _memory(data.partition) if data else None
    lines += ["set-resources:"]
    for rule in ("deduplicate", "split_clusters", "check_contamination"):
        lines += [
            f"  {rule}:",
            f"    mem_mb: {memory or 240000}" + ("" if memory else " # a guess"),
        ]
    if gpu:
        note = " # its GPUs did not compute" if gpu.node and gpu.node.error else ""
        lines += ["  train_cell:", f"    slurm_partition: {gpu.partition.name}{note}"]
        features = sorted({name for kind in gpu.partition.kinds for name in kind.features})
        if features:
            lines.append(f"    # constraint: '\"{features[0]}\"' # there are {', '.join(features)}")
    else:
        lines += ["  # train_cell:", "  #   slurm_partition: GPU-PARTITION # no job ran on a GPU"]
    lines.append(
        f"max-threads: {cores} # cores of a node" if cores else "max-threads: 64 # a guess"
    )
    return "\n".join([*lines, "", *_machine(gpu)]) + "\n"


def _machine(gpu: Trial | None) -> list[str]:
    """The block `machine` for a config file of the site's, as comments."""
    if gpu is None or gpu.node is None:
        return []
    kind = max(gpu.partition.kinds, key=lambda kind: kind.gpus)
    sold = gpu.node.gpus[0] if gpu.node.gpus else ""
    known = [
        name for name in GPUS if all(part in sold.replace(" ", "") for part in name.split("-"))
    ]
    name = max(known, key=len, default="NAME")
    note = f" # {sold or 'nvidia-smi did not say which'}"
    return [
        "# site.yaml, for --configfile config.yaml site.yaml:",
        f"# machine: {{gpu: {name}, gpus_per_node: {kind.gpus}, max_gpus: "
        f"{kind.gpus * min(kind.count, gpu.partition.nodes or kind.count)}, "
        f"threads: {max(1, kind.cpus // kind.gpus)}}}{note}",
    ]


def _table(trials: list[Trial]) -> str:
    rows = [("partition", "time", "nodes", "cores", "memory", "GPUs", "job")]
    for trial in trials:
        partition, kinds = trial.partition, trial.partition.kinds
        rows.append(
            (
                partition.name,
                "no limit" if partition.minutes is None else f"{partition.minutes} min",
                str(sum(kind.count for kind in kinds)),
                _range(kind.cpus for kind in kinds),
                f"{_range(_memory_of(kind, partition) for kind in kinds)} MB",
                _range(kind.gpus for kind in kinds),
                _job(trial),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _job(trial: Trial) -> str:
    if trial.node is None:
        return trial.failure
    text = f"on {trial.node.host} after {max(0, trial.node.started - trial.submitted):.0f} s"
    if trial.node.tflops:
        text += f", {trial.node.tflops:.0f} TFLOP/s"
    if trial.node.nccl_gbytes_per_second:
        text += f", NCCL {trial.node.nccl_gbytes_per_second:.0f} GB/s"
    return text


def _found(site: Site) -> list[str]:
    jobs = _jobs(site)
    names = ("SLURM_VERSION", "ClusterName", "MinJobAge", "PreemptMode", "JobRequeue")
    nodes = [trial.node for trial in site.trials if trial.node]
    lines = [
        ", ".join(f"{name} {site.settings.get(name, '?')}" for name in names),
        f"at most {jobs} jobs of this user wait or run" if jobs else "no limit on jobs submitted",
    ]
    places = {
        f"{node.scratch} of nodes ({short_bytes(node.scratch_bytes)} free); the working folder is "
        f"on {node.file_system or 'an unknown file system'}"
        for node in nodes
    }
    gres = [f"gres of {t.partition.name}: {', '.join(t.gres)}" for t in site.trials if t.gres]
    return [*lines, *gres, *(f"temporary files: {place}" for place in sorted(places))]


def _faults(site: Site) -> list[str]:
    faults = [f"partition {t.partition.name}: {t.failure}" for t in site.trials if t.failure]
    age = number(site.settings.get("MinJobAge", ""))
    if age is not None and age < SECONDS_SQUEUE_NEEDS and not _accounting(site):
        faults.append(f"MinJobAge {age} s and no accounting: how a job ended may not be known")
    if "CANCEL" in site.settings.get("PreemptMode", ""):
        faults.append("preempted jobs are cancelled, not requeued: cells resume in another job")
    for node in (trial.node for trial in site.trials if trial.node):
        if node.home_inode is None or not node.home_writable:
            faults.append(
                f"HOME {node.home} cannot be written on {node.host}: export XDG_CACHE_HOME=FOLDER "
                "to a shared folder before snakemake"
            )
        if not node.locks:
            faults.append(
                f"locks of this folder ({node.file_system}) are not seen on {node.host}: nothing "
                "keeps a second run off a cell; start one Snakemake at a time"
            )
        if node.unresolved:
            faults.append(
                f"names that do not resolve on {node.host}: {', '.join(node.unresolved)}; cells "
                "meet by addresses, but a machine.launcher other than srun may need them"
            )
        if node.error:
            faults.append(f"GPUs of {node.host}: {node.error}")
    return list(dict.fromkeys(faults))


def _unknown(site: Site) -> list[str]:
    lines = []
    if not _accounting(site):
        lines.append("limits of accounts and QOS: this Slurm has no accounting")
    elif not site.limits.accounts:
        lines.append("limits of accounts and QOS: sacctmgr does not answer")
    ran = [trial.node for trial in site.trials if trial.node]
    if len({node.host for node in ran}) < 2:
        lines.append("whether nodes see each other's locks and names: one node at most ran a job")
    if any(trial.failure for trial in site.trials):
        lines.append(f"what nodes are like where no job of {MINUTES} min ran")
    return lines


def _accounting(site: Site) -> bool:
    return "none" not in site.settings.get("AccountingStorageType", "none")


def _best(site: Site, gpus: bool) -> Trial | None:
    """Where a job ran: of those with GPUs the one with most, else the default or the largest."""
    ran = [trial for trial in site.trials if trial.node]

    def most_gpus(trial: Trial) -> int:
        return max((kind.gpus for kind in trial.partition.kinds), default=0)

    if gpus:
        return max((t for t in ran if most_gpus(t)), key=most_gpus, default=None)
    plain = [trial for trial in ran if not most_gpus(trial)] or ran
    return max(plain, key=lambda t: (t.partition.default, _memory(t.partition) or 0), default=None)


def _memory(partition: Partition) -> int | None:
    """MB that a job can have of a node, of the largest."""
    return max((_memory_of(kind, partition) for kind in partition.kinds), default=None)


def _memory_of(kind: NodeKind, partition: Partition) -> int:
    return min(kind.memory_mb, partition.memory_mb or kind.memory_mb)


def _jobs(site: Site) -> int | None:
    """Jobs that may be submitted at a time; None without a limit below Slurm's own."""
    asked = {"slurm_account": site.account} if site.account else {}
    names = [t.partition.name for t in site.trials if t.node]
    return least(*(site.limits.most_submitted(asked | {"slurm_partition": n}) for n in names))


def _range(values: Iterable[int]) -> str:
    numbers = sorted(set(values))
    return "–".join(map(str, dict.fromkeys((numbers[0], numbers[-1])))) if numbers else "?"
