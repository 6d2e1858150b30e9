"""What Slurm's commands say of a site: partitions, nodes, accounts, settings."""

import getpass
import math
import os
import re
import shutil
import subprocess
from functools import cache

from plm_scaling.common.errors import SlurmError
from plm_scaling.common.progress import logger
from plm_scaling.common.slurm_job import seconds_of
from plm_scaling.slurm.limits import Account, Limits, NodeKind, Partition, least

SECONDS_TO_ANSWER = 60
KINDS = ["sinfo", "--noheader", "--exact", "--format", "%R|%D|%N|%m|%c|%G|%f"]
PARTITIONS = ["scontrol", "show", "partition", "--oneliner"]
SETTINGS = ["scontrol", "show", "config"]
USER = ["Cluster", "DefaultAccount", "Account", "DefaultQOS", "QOS", "MaxSubmit", "MaxWall"]
QOS = ["Name", "MaxSubmitPU", "MaxSubmitPA", "GrpSubmit", "MaxWall"]
ACCOUNTING = ["sacctmgr", "--noheader", "--parsable2", "show"]


def ask(command: list[str], seconds: float = SECONDS_TO_ANSWER) -> str:
    """What a command of Slurm's prints. Raises `SlurmError` with the last line of its message if it
    fails, or takes longer."""
    # Times as they are parsed, whatever format the user prefers.
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("SINFO_")}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=True, env=environment
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or ""
        if isinstance(said, bytes):  # where it took too long, whatever `text` says
            said = said.decode(errors="replace")
        message = (said.strip() or str(error)).splitlines()[-1]
        message = message.removeprefix(f"{command[0]}: ")
        raise SlurmError(f"{command[0]} does not answer: {message}") from error
    return done.stdout


def answer(command: list[str]) -> str | None:
    """The same; None where the command is missing, and with a warning where it fails."""
    if not shutil.which(command[0]):
        return None
    try:
        return ask(command)
    except SlurmError as error:
        logger.warning("%s", error)
        return None


@cache
def site_limits() -> Limits:
    """What this site allows, asked of Slurm once; of what does not answer, nothing is known."""
    settings = settings_of(answer(SETTINGS) or "")
    if not settings:
        return Limits()
    kinds, partitions = answer(KINDS) or "", answer(PARTITIONS) or ""
    nodes = sorted({first_name(line.split("|")[2]) for line in kinds.splitlines()})
    each = answer(["scontrol", "show", "node", ",".join(nodes), "--oneliner"]) or ""
    user, qos = "", ""
    if "none" not in settings.get("AccountingStorageType", "none"):
        asked = ["user", getpass.getuser(), "withassoc", f"format={','.join(USER)}"]
        user = answer([*ACCOUNTING, *asked]) or ""
        qos = answer([*ACCOUNTING, "qos", f"format={','.join(QOS)}"]) or ""
    services = _services(qos)
    return Limits(
        partitions_of(partitions, kinds, each, services),
        accounts_of(user, settings.get("ClusterName", ""), services),
        number(settings.get("MaxJobCount", "")),
    )


def nodes_of(partition: str) -> tuple[list[str], list[str]]:
    """Names of a partition's nodes, and what different Gres they have."""
    command = ["sinfo", "--noheader", "--Node", "--partition", partition, "--format", "%N|%G"]
    rows = [line.split("|") for line in (answer(command) or "").splitlines()]
    return [row[0] for row in rows], sorted({row[1] for row in rows if row[1] != "(null)"})


def settings_of(text: str) -> dict[str, str]:
    """Names and values of `scontrol show config`."""
    return dict(re.findall(r"^(\w+)\s+= (.*?)\s*$", text, re.MULTILINE))


def partitions_of(
    text: str, kinds: str, nodes: str, services: dict[str, tuple[int | None, int | None]]
) -> tuple[Partition, ...]:
    """Those of `scontrol show partition`, with the nodes that `sinfo` groups by kind.

    `nodes` is what `scontrol show node` says of one of each kind: what of its memory and cores is
    kept for the system.
    """
    each = {fields["NodeName"]: fields for fields in map(_fields, nodes.splitlines())}
    found = []
    for line in text.splitlines():
        fields = _fields(line)
        name = fields["PartitionName"]
        rows = [row.split("|") for row in kinds.splitlines() if row.startswith(f"{name}|")]
        submitted, minutes = services.get(fields.get("QoS", ""), (None, None))
        found.append(
            Partition(
                name=name,
                kinds=tuple(_kind(row, each.get(first_name(row[2]), {})) for row in rows),
                minutes=least(minutes_of(fields.get("MaxTime", "")), minutes),
                nodes=number(fields.get("MaxNodes", "")),
                memory_mb=number(fields.get("MaxMemPerNode", "")),
                submitted=submitted,
                default=fields.get("Default") == "YES",
            )
        )
    return tuple(found)


def accounts_of(
    text: str, cluster: str, services: dict[str, tuple[int | None, int | None]]
) -> tuple[Account, ...]:
    """Those of `sacctmgr show user … withassoc` (fields `USER`), with the limits of their QOS."""
    accounts = []
    for line in text.splitlines():
        row = dict(zip(USER, line.split("|"), strict=True))
        if row["Cluster"] != cluster:
            continue
        known = [name for name in row["QOS"].split(",") if name in services]
        usual = row["DefaultQOS"] or (known[0] if len(known) == 1 else "")
        submitted, minutes = services.get(usual, (None, None))
        accounts.append(
            Account(
                row["Account"],
                submitted=least(number(row["MaxSubmit"]), submitted),
                minutes=least(minutes_of(row["MaxWall"]), minutes),
                default=row["Account"] == row["DefaultAccount"],
            )
        )
    return tuple(accounts)


def _services(text: str) -> dict[str, tuple[int | None, int | None]]:
    """Of each QOS (fields `QOS`): jobs that can be submitted, minutes of one."""
    rows = [line.split("|") for line in text.splitlines()]
    return {row[0]: (least(*map(number, row[1:4])), minutes_of(row[4])) for row in rows}


def _kind(row: list[str], node: dict[str, str]) -> NodeKind:
    _, count, _, memory, cpus, gres, features = row
    reserved = number(node.get("MemSpecLimit", "")) or 0
    return NodeKind(
        count=int(count),
        cpus=number(node.get("CPUEfctv", "")) or int(cpus),
        memory_mb=int(memory) - reserved,
        gpus=gpus_of(gres),
        features=tuple(features.split(",")) if features != "(null)" else (),
    )


def gpus_of(gres: str) -> int:
    """GPUs of a node by its Gres: gpu:4, gpu:a100:4(S:0-1), several with commas."""
    return sum(map(int, re.findall(r"(?:^|,)gpu(?::[^:,(]+)?:(\d+)", gres)))


def minutes_of(limit: str) -> int | None:
    """Whole minutes of a time limit as scontrol and sacctmgr print it; None for no limit."""
    seconds = seconds_of(limit)
    return None if math.isinf(seconds) else int(seconds // 60)


def number(text: str) -> int | None:
    """A count; None for UNLIMITED, N/A and nothing."""
    found = re.match(r"\d+", text)
    return int(found[0]) if found else None


def first_name(nodes: str) -> str:
    """The first of a list of nodes as Slurm shortens it: gpu[01-16,20] is gpu01."""
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", re.split(r",(?![^\[]*\])", nodes)[0])


def _fields(line: str) -> dict[str, str]:
    """Fields NAME=value of a line of scontrol; of two with a name the first."""
    return dict(reversed(re.findall(r"(\w+)=(\S*)", line)))
