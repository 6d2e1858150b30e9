"""What a site's partitions, nodes and accounts allow, and what of it a job asks for.

A job that asks for more than its partition has is accepted by many a Slurm and never starts. Time,
memory and cores are fitted to what there is; the rest is a reason not to submit the job.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Self

# Resources of a job, by the names of Snakemake and its Slurm plugin: `mem_mb` (MB of each node),
# `runtime` (minutes), `_cores` (of each node), `gpu` (of all nodes), `nodes`, `slurm_partition`,
# `slurm_account`, `constraint`.
Asked = Mapping[str, int | str]


@dataclass(frozen=True)
class NodeKind:
    """Nodes of a partition that are alike: how many, and what each has."""

    count: int
    cpus: int
    memory_mb: int
    gpus: int = 0
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Partition:
    """What a job of this partition can have; None is no limit."""

    name: str
    kinds: tuple[NodeKind, ...]
    minutes: int | None = None
    nodes: int | None = None
    memory_mb: int | None = None
    """of each node, where the partition allows less than its nodes have"""
    submitted: int | None = None
    """jobs of one user"""
    default: bool = False


@dataclass(frozen=True)
class Account:
    """What an account allows this user; None is no limit."""

    name: str
    submitted: int | None = None
    """jobs that wait or run at a time"""
    minutes: int | None = None
    default: bool = False


@dataclass(frozen=True)
class Limits:
    """A site's limits; without any, nothing is known of it."""

    partitions: tuple[Partition, ...] = ()
    accounts: tuple[Account, ...] = ()
    submitted: int | None = None
    """jobs of all users that the controller keeps"""
    minutes: int | None = None
    """what the profile gives, in place of what partitions and accounts allow"""
    memory_mb: int | None = None
    """the same, of a node"""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        read = json.loads(text)
        partitions = [
            Partition(**row | {"kinds": tuple(_kind(kind) for kind in row["kinds"])})
            for row in read.pop("partitions")
        ]
        accounts = [Account(**row) for row in read.pop("accounts")]
        return cls(tuple(partitions), tuple(accounts), **read)

    def partitions_of(self, asked: Asked) -> list[Partition]:
        """Those that the job names (Slurm takes any of a list), or the default; [] if unknown."""
        names = str(asked.get("slurm_partition", "")).split(",")
        named = [partition for partition in self.partitions if partition.name in names]
        return named or [] if any(names) else [p for p in self.partitions if p.default]

    def account_of(self, asked: Asked) -> Account:
        """The account that the job names, or the user's default."""
        name = asked.get("slurm_account")
        found = [a for a in self.accounts if (a.name == name if name else a.default)]
        return found[0] if found else Account("")

    def most_submitted(self, asked: Asked) -> int | None:
        """How many jobs like this one can wait and run at a time."""
        allowed = [self.submitted, self.account_of(asked).submitted]
        return least(*allowed, *(partition.submitted for partition in self.partitions_of(asked)))


def least(*limits: int | None) -> int | None:
    """The least of some limits; None without any."""
    return min((limit for limit in limits if limit is not None), default=None)


def with_given(limits: Limits, runtime: int | None = None, mem_mb: int | None = None) -> Limits:
    """The limits with what a profile gives of each job: minutes, and MB of a node."""
    return replace(limits, minutes=runtime, memory_mb=mem_mb)


def reason_never_starts(asked: Asked, limits: Limits) -> str | None:
    """Why a job that asks for this will never start, with what to do; None if it can."""
    reasons = [_reason(asked, partition) for partition in _allowed(asked, limits)]
    return None if not reasons or None in reasons else reasons[0]


def fitted(asked: Asked, limits: Limits) -> dict[str, int | str]:
    """The same with no more time, memory and cores of a node than the site allows.

    Of several partitions those of the first whose nodes have the GPUs and nodes. The cores of a job
    on several nodes stay as they are, since its processes are started with so many each.
    """
    allowed = _allowed(asked, limits)
    able = [partition for partition in allowed if not _reason(_small(asked), partition)]
    if not (able or allowed):
        return dict(asked)
    partition = (able or allowed)[0]
    kinds = [kind for kind in partition.kinds if _able(kind, asked)] or partition.kinds
    most = {
        "runtime": partition.minutes,
        "mem_mb": least(partition.memory_mb, max((kind.memory_mb for kind in kinds), default=None)),
        "_cores": None if _nodes(asked) > 1 else max((kind.cpus for kind in kinds), default=None),
    }
    fits = dict(asked)
    for name, limit in most.items():
        if limit is not None and isinstance(fits.get(name), int):
            fits[name] = min(int(fits[name]), limit)
    return fits


def _allowed(asked: Asked, limits: Limits) -> list[Partition]:
    """The partitions of the job, with what its account and the profile say of them."""
    account = limits.account_of(asked)
    partitions = limits.partitions_of(asked)
    if not partitions and (limits.minutes or limits.memory_mb or account.minutes):
        partitions = [Partition("", ())]
    return [
        replace(
            partition,
            minutes=limits.minutes or least(partition.minutes, account.minutes),
            memory_mb=limits.memory_mb or partition.memory_mb,
            kinds=tuple(
                replace(kind, memory_mb=limits.memory_mb or kind.memory_mb)
                for kind in partition.kinds
            ),
        )
        for partition in partitions
    ]


def _reason(asked: Asked, partition: Partition) -> str | None:
    """The first of what the job asks for that this partition never has, with the remedy."""
    where = f"partition {partition.name}" if partition.name else "this site"
    nodes, gpus = _nodes(asked), _gpus(asked)
    minutes, memory, cores = (_number(asked, name) for name in ("runtime", "mem_mb", "_cores"))
    if partition.minutes is not None and minutes > partition.minutes:
        return f"it asks for {minutes} min, and {where} allows {partition.minutes}: set its runtime"
    if partition.memory_mb is not None and memory > partition.memory_mb:
        return (
            f"it asks for {memory:,} MB of a node, and {where} allows {partition.memory_mb:,}: set "
            "its mem_mb"
        )
    if partition.nodes is not None and nodes > partition.nodes:
        return (
            f"it asks for {nodes} nodes, and {where} allows {partition.nodes}: set machine.max_gpus"
        )
    kinds = partition.kinds
    if not kinds:
        return None
    wanted = _feature(asked)
    kinds = tuple(kind for kind in kinds if not wanted or wanted in kind.features)
    if not kinds:
        return (
            f"it asks for nodes with the feature {wanted}, and {where} has none: set its constraint"
        )
    for field, what, each, remedy in (
        ("gpus", "GPUs", gpus, "set machine.gpus_per_node"),
        ("cpus", "cores", cores, "set machine.threads, or --max-threads"),
        ("memory_mb", "MB", memory, "more GPUs of a cell divide it (machine.layouts)"),
    ):
        most = max(getattr(kind, field) for kind in kinds)
        if each > most:
            have = f"those of {where} have {most:,}"
            return f"it asks for {each:,} {what} of a node, and {have}: {remedy}"
        kinds = tuple(kind for kind in kinds if getattr(kind, field) >= each)
    if nodes > (count := sum(kind.count for kind in kinds)):
        return f"it asks for {nodes} such nodes, and {where} has {count}: set machine.max_gpus"
    return None


def _small(asked: Asked) -> Asked:
    """Without what can be fitted."""
    kept = {"_cores"} if _nodes(asked) > 1 else set()
    return {
        name: value
        for name, value in asked.items()
        if name not in {"runtime", "mem_mb", "_cores"} - kept
    }


def _able(kind: NodeKind, asked: Asked) -> bool:
    """Whether such nodes have the GPUs and the feature of the job."""
    wanted = _feature(asked)
    return kind.gpus >= _gpus(asked) and (not wanted or wanted in kind.features)


def _number(asked: Asked, name: str) -> int:
    value = asked.get(name, 0)
    return value if isinstance(value, int) else 0


def _nodes(asked: Asked) -> int:
    return _number(asked, "nodes") or 1


def _gpus(asked: Asked) -> int:
    """GPUs of each node."""
    return -(-_number(asked, "gpu") // _nodes(asked))


def _feature(asked: Asked) -> str:
    """The feature that a constraint asks for; empty for none and for an expression of several."""
    constraint = str(asked.get("constraint", "")).strip("\"'")
    return constraint if constraint.replace("-", "").replace("_", "").isalnum() else ""


def _kind(row: dict[str, object]) -> NodeKind:
    features = row.pop("features")
    assert isinstance(features, list)
    return NodeKind(**row, features=tuple(features))  # type: ignore[arg-type]
