"""A real Slurm on this machine, for tests: two nodes of eight CPUs and four pretended GPUs each.

munged, slurmctld and one slurmd per node, on the loopback interface, without accounting (`squeue`
tells the states of jobs). Jobs of the partition `urgent` preempt those of `main`. Needs root and
the packages slurm-wlm and munge; `reason_why_not` says what is lacking. Slurm finds its
configuration only in /etc/slurm, because the variable that names another place does not reach the
inner jobs of Snakemake's Slurm plugin; links are put there, and what is not ours is not touched.
"""

import fcntl
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

ETC = Path("/etc/slurm")
MUNGE_KEY = Path("/etc/munge/munge.key")
TURN = Path("/tmp/plm-scaling-tests-slurm.lock")
NODES = ("n1", "n2")
CPUS, MEMORY_MB, GPUS = 8, 8000, 4
# What a slow machine needs many times over: only what never comes is given up.
PATIENCE = 1200  # seconds
# Null devices stand for the GPUs: Slurm wants character devices, and numbers them for each job.
NULL = (1, 3)

SLURM_CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
TaskPlugin=task/none
ProctrackType=proctrack/linuxproc
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,UsePss
AccountingStorageType=accounting_storage/none
MpiDefault=none
GresTypes=gpu
ReturnToService=2
KillWait=20
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=10
InactiveLimit=0
DefMemPerCPU=500
PropagateResourceLimits=NONE
{nodes}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=ALL Default=YES MaxTime=7-0 DefaultTime=10 PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=ALL MaxTime=7-0 PriorityTier=9 PreemptMode=OFF
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} "
    "RealMemory={memory} Gres=gpu:fake:{gpus} State=UNKNOWN"
)
GRES_CONF = "NodeName={names} Name=gpu Type=fake File={folder}/gpu[0-{last}] Flags=nvidia_gpu_env\n"


def reason_why_not() -> str | None:
    """Why no Slurm can be started here; None if it can."""
    if os.geteuid() != 0:
        return "a Slurm of one's own needs root"
    if missing := [name for name in ("slurmctld", "slurmd", "munged") if not shutil.which(name)]:
        return f"{', '.join(missing)} not installed (packages slurm-wlm, munge)"
    if ETC.joinpath("slurm.conf").exists() and not ETC.joinpath("slurm.conf").is_symlink():
        return f"{ETC}/slurm.conf is this machine's own"
    return None


def wait_until(
    done: Callable[[], bool], what: str, process: subprocess.Popen[str] | None = None
) -> None:
    """Look ten times a second; fails after `PATIENCE`, or when the process has ended meanwhile."""
    end = time.monotonic() + PATIENCE
    while not done():
        if process is not None and process.poll() is not None and not done():
            raise ChildProcessError(f"{what}: the process ended first, exit {process.returncode}")
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {PATIENCE} s")
        time.sleep(0.1)


class Cluster:
    """Started in `folder`, which gets its state and its logs; use it as a context."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.munged: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Cluster":
        # There is one /etc/slurm: runs of these tests take turns.
        self.turn = TURN.open("w")
        fcntl.flock(self.turn, fcntl.LOCK_EX)
        self._configure()
        self._start_munge()
        self.start_controller()
        for name in NODES:
            self.start_node(name)
        wait_until(lambda: all(state == "idle" for state in self.nodes().values()), "idle nodes")
        return self

    def __exit__(self, *unused: object) -> None:
        subprocess.run(["scancel", "--user", "root"], check=False, capture_output=True)
        for name in NODES:
            self.kill_node(name, signal.SIGTERM)
        self.stop_controller()
        if self.munged:
            self.munged.terminate()
            self.munged.wait()
        for name in ("slurm.conf", "gres.conf"):
            ETC.joinpath(name).unlink()
        self.turn.close()

    def start_controller(self) -> None:
        """Start slurmctld and wait until it answers."""
        subprocess.run(["slurmctld"], check=True, capture_output=True)
        wait_until(
            lambda: not subprocess.run(["scontrol", "ping"], capture_output=True).returncode,
            "slurmctld",
        )

    def stop_controller(self) -> None:
        """End slurmctld; it saves its state first."""
        self._kill("slurmctld.pid", signal.SIGTERM)

    def start_node(self, name: str) -> None:
        """Start the slurmd of a node."""
        subprocess.run(["slurmd", "-N", name], check=True, capture_output=True)

    def kill_node(self, name: str, by: signal.Signals = signal.SIGKILL) -> None:
        """End the slurmd of a node; with SIGKILL its jobs' processes too, as a power cut does."""
        if by == signal.SIGKILL:
            for job in self.jobs("%A|%N|%T"):
                number, node, state = job.split("|")
                if node == name and state == "RUNNING":
                    self._kill_processes_of(number)
        self._kill(f"slurmd-{name}.pid", by)

    def nodes(self) -> dict[str, str]:
        """State of each node."""
        done = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--format", "%N %T"], capture_output=True, text=True
        )
        return dict(line.split() for line in done.stdout.splitlines())

    def jobs(self, form: str, *options: str) -> list[str]:
        """Lines of `squeue` in this format, for jobs that are pending or running."""
        command = ["squeue", "--noheader", "--format", form, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    def resources_of(self, job: str) -> str:
        """What a running job requested besides CPUs and memory, such as `gres:gpu:1`."""
        command = ["squeue", "--noheader", "--jobs", job, "--Format", "tres-per-job"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def _configure(self) -> None:
        host = platform.node().split(".")[0]
        port, *node_ports = free_ports(1 + len(NODES))
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            self.folder.joinpath(name).mkdir(parents=True)
        nodes = [
            NODE.format(
                name=name, host=host, port=node_port, cpus=CPUS, memory=MEMORY_MB, gpus=GPUS
            )
            for name, node_port in zip(NODES, node_ports, strict=True)
        ]
        text = SLURM_CONF.format(host=host, port=port, folder=self.folder, nodes="\n".join(nodes))
        self.folder.joinpath("slurm.conf").write_text(text)
        for i in range(GPUS):
            os.mknod(self.folder / f"gpu{i}", 0o20666, os.makedev(*NULL))
        text = GRES_CONF.format(names=",".join(NODES), folder=self.folder, last=GPUS - 1)
        self.folder.joinpath("gres.conf").write_text(text)
        ETC.mkdir(exist_ok=True)
        for name in ("slurm.conf", "gres.conf"):
            link = ETC / name
            link.unlink(missing_ok=True)
            link.symlink_to(self.folder / name)

    def _start_munge(self) -> None:
        if _munge_answers():
            return
        if not MUNGE_KEY.is_file() or not MUNGE_KEY.stat().st_size:
            MUNGE_KEY.write_bytes(secrets.token_bytes(1024))
        shutil.chown(MUNGE_KEY, "munge", "munge")
        MUNGE_KEY.chmod(0o400)
        for path, mode in (("/run/munge", 0o755), ("/var/log/munge", 0o700)):
            Path(path).mkdir(exist_ok=True, parents=True)
            shutil.chown(path, "munge", "munge")
            Path(path).chmod(mode)
        self.munged = subprocess.Popen(
            [
                *("setpriv", "--reuid", "munge", "--regid", "munge", "--init-groups"),
                *("munged", "--foreground", "--force"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(_munge_answers, "munged")

    def _kill(self, pid_file: str, by: signal.Signals) -> None:
        path = self.folder / pid_file
        if not path.is_file():
            return
        pid = int(path.read_text())
        try:
            os.kill(pid, by)
            wait_until(lambda: not Path(f"/proc/{pid}").exists(), f"end of {pid_file}")
        except ProcessLookupError:
            pass
        path.unlink(missing_ok=True)

    def _kill_processes_of(self, job: str) -> None:
        """SIGKILL to all that has the job's number in its environment, and their slurmstepd."""
        wanted = f"SLURM_JOB_ID={job}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                own = wanted in (process / "environ").read_bytes().split(b"\0")
                stepd = (
                    (process / "cmdline").read_bytes().startswith(f"slurmstepd: [{job}".encode())
                )
                if own or stepd:
                    os.kill(int(process.name), signal.SIGKILL)
            except OSError:  # it ended meanwhile
                continue


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, such as the daemons of a run of tests that was killed. Below
    those that the system gives to any program, of which one may take a port before its daemon."""
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            each = stack.enter_context(socket.socket())
            try:
                each.bind(("", 20000 + secrets.randbelow(10000)))
            except OSError:
                continue
            found.append(each.getsockname()[1])
    return found


def _munge_answers() -> bool:
    done = subprocess.run("munge -n </dev/null | unmunge", shell=True, capture_output=True)
    return done.returncode == 0
