"""Commands of Slurm that answer with what a real one printed, for sites that cannot be had here."""

from pathlib import Path

# Two nodes of 8 GB and 4 GPUs, of which 500 MB are the system's; as Slurm 22.05 prints it.
SETTINGS = """\
Configuration data as of 2026-11-29T17:20:00
AccountingStorageHost   = localhost
AccountingStorageType   = accounting_storage/{accounting}
ClusterName             = tests
MaxArraySize            = 1001
MaxJobCount             = 10000
MinJobAge               = 300 sec
PreemptMode             = REQUEUE
"""
PARTITION = (
    "PartitionName={name} AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL "
    "Default={default} QoS={qos} DefaultTime=00:10:00 DisableRootJobs=NO ExclusiveUser=NO "
    "GraceTime=20 Hidden=NO MaxNodes={nodes} MaxTime={time} MinNodes=0 LLN=NO "
    "MaxCPUsPerNode=UNLIMITED Nodes=n[1-2] PriorityJobFactor=1 PriorityTier=1 RootOnly=NO "
    "ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE PreemptMode=REQUEUE State=UP TotalCPUs=16 "
    "TotalNodes=2 SelectTypeParameters=NONE JobDefaults=(null) DefMemPerCPU=500 "
    "MaxMemPerNode=UNLIMITED"
)
NODE = (
    "NodeName={name} Arch=x86_64 CoresPerSocket=1 CPUAlloc=0 CPUEfctv=8 CPUTot=8 CPULoad=0.1 "
    "AvailableFeatures=(null) ActiveFeatures=(null) Gres=gpu:fake:4(S:0) NodeAddr=127.0.0.1 "
    "OS=Linux RealMemory=8000 AllocMem=0 FreeMem=100 Sockets=8 Boards=1 MemSpecLimit=500 "
    "State=IDLE ThreadsPerCore=1 Partitions=main"
)


def pretended_slurm(folder: Path, answers: dict[str, str]) -> Path:
    """A folder with commands that give these answers: texts by the words of the command line."""
    folder.mkdir(parents=True, exist_ok=True)
    for command in {words.split()[0] for words in answers}:
        cases = []
        for number, (words, text) in enumerate(answers.items()):
            first, _, rest = words.partition(" ")
            if first == command:
                file = folder / f"{command}.{number}.txt"
                file.write_text(text)
                cases.append(
                    f"'{rest}'*) while IFS= read -r line; do echo \"$line\"; done < {file};;"
                )
        script = folder / command
        script.write_text(
            f'#!/bin/sh\necho "$0 $*" >> {folder}/calls\ncase "$*" in\n'
            + "\n".join(cases)
            + "\n*) echo 'no such question' >&2; exit 1;;\nesac\n"
        )
        script.chmod(0o755)
    return folder


def small_site(
    time: str = "02:00:00", accounting: str = "none", qos: str = "N/A"
) -> dict[str, str]:
    """Answers of a site with one partition, `main`, and this limit of time."""
    partition = PARTITION.format(name="main", default="YES", qos=qos, nodes="UNLIMITED", time=time)
    return {
        "scontrol show config": SETTINGS.format(accounting=accounting),
        "scontrol show partition": partition + "\n",
        "scontrol show node n1 ": NODE.format(name="n1") + "\n",
        "sinfo ": "main|2|n[1-2]|8000|8|gpu:fake:4(S:0)|(null)\n",
    }
