"""A real SLURM of one node on this machine, its two GPUs pretended, while a test needs it.

No systemd, cgroups, accounting or root; everything in one temporary folder; nothing of a SLURM that
the machine may have is read or changed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

Found = TypeVar("Found")

# As on most machines, the daemons lie where a user's PATH does not look.
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "setpriv")
GPUS = ("/dev/null", "/dev/zero")  # every machine has these devices

# The node claims more cores and memory than there are, so that GPUs alone limit what runs at once.
# The partitions are those that profiles/slurm names.
SLURM_CONF = """
ClusterName=salcr
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={home}/munge.socket
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
Prolog={home}/record
Epilog={home}/record
MinJobAge=3600
KillWait=2
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=256000 Gres=gpu:pretended:{gpus}
PartitionName=cpu Nodes={host}
PartitionName=gpu Nodes={host}
"""

# Runs as each job's prolog and epilog: what SLURM gave to whom, and until when.
RECORD = """#!/bin/sh
now=$(date +%s.%N)
echo "$SLURM_SCRIPT_CONTEXT $now $SLURM_JOB_ID ${{SLURM_JOB_GPUS:-none}}" >> {home}/records
"""

# The SLURM plugin drops every SLURM_* variable, this one too, before the srun inside a job.
SRUN = """#!/bin/sh
SLURM_CONF={home}/slurm.conf exec {srun} "$@"
"""


class Allocation(NamedTuple):
    """When a job had a node, and the GPUs it was given there: "none" or, say, "0"."""

    job: str
    gpus: str
    start: float
    end: float


class Cluster:
    """The commands and records of a running cluster."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            # A surrounding job's variables would be taken for this cluster's.
            **{name: value for name, value in os.environ.items() if not name.startswith("SLURM_")},
            "SLURM_CONF": str(home / "slurm.conf"),
            "PATH": f"{home}{os.pathsep}{PATH}",
        }

    def ask(self, *words: str) -> str:
        """Return what a SLURM command prints, without its last line break."""
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=True, timeout=30
        ).stdout.rstrip()

    def jobs(self) -> list[dict[str, str]]:
        """Return SLURM's record of every job, by submission: field -> value."""
        lines = self.ask("scontrol", "show", "job", "--oneliner").splitlines()
        return [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines if "JobId=" in line]

    def allocations(self) -> list[Allocation]:
        """Return what prolog and epilog recorded of the jobs that have ended."""
        starts: dict[str, float] = {}
        found = []
        for line in (self.home / "records").read_text().splitlines():
            context, moment, job, gpus = line.split()
            if context.startswith("prolog"):
                starts[job] = float(moment)
            else:
                found.append(Allocation(job, gpus, starts[job], float(moment)))
        return found


def wait_for(what: str, look: Callable[[], Found], seconds: float = 60) -> Found:
    """Return what `look()` finds as soon as it finds something; fail after some seconds."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {seconds} s")
        time.sleep(0.1)
    return found


def write_configuration(home: Path) -> None:
    """Write the files of a cluster into its folder."""
    (home / "state").mkdir()
    (home / "spool").mkdir()
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
    host = socket.gethostname().split(".")[0]
    user = subprocess.check_output(["id", "-un"], text=True).strip()
    values = {"home": home, "host": host, "user": user, "ports": ports, "gpus": len(GPUS)}
    (home / "slurm.conf").write_text(SLURM_CONF.format(**values))
    (home / "gres.conf").write_text(
        "AutoDetect=off\n"
        + "".join(
            f"NodeName={host} Name=gpu Type=pretended File={path} Flags=nvidia_gpu_env\n"
            for path in GPUS
        )
    )
    # Old SLURM dies of this file, new SLURM wants control groups without it.
    version = subprocess.check_output(["slurmd", "-V"], text=True, env={"PATH": PATH})
    if tuple(map(int, re.findall(r"\d+", version)[:2])) >= (23, 2):
        (home / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
    (home / "munge.key-file").write_bytes(os.urandom(128))
    (home / "munge.key-file").chmod(0o600)
    srun = shutil.which("srun", path=PATH)
    for name, text in (("record", RECORD), ("srun", SRUN)):
        (home / name).write_text(text.format(home=home, srun=srun))
        (home / name).chmod(0o755)


@contextmanager
def daemon(cluster: Cluster, *words: str) -> Iterator[None]:
    """Run a daemon for as long as the block; it also ends when this process is killed."""
    with (cluster.home / f"{words[0]}.log").open("w") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *words],
            env=cluster.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C is for the tests
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start a cluster, and stop it and its jobs whatever happens."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        pytest.fail(f"no {', '.join(missing)} here; `make test-slurm` installs SLURM where it can")
    # Not in $TMPDIR, which may be long: the path of a socket has at most 107 characters.
    temporary = tempfile.TemporaryDirectory(prefix="salcr-slurm-", dir="/tmp")
    with temporary as folder, ExitStack() as stack:
        # What is terminated, by a time limit say, still has to stop its cluster.
        before = signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated"))
        stack.callback(signal.signal, signal.SIGTERM, before)
        home = Path(folder)
        write_configuration(home)
        cluster = Cluster(home)
        names = ("key-file", "socket", "pid-file", "seed-file")
        munge = [f"--{name}={home}/munge.{name}" for name in names]
        munge.append("--force")  # although nobody else can reach the socket
        stack.enter_context(daemon(cluster, "munged", "--foreground", *munge))
        wait_for("munge's socket", (home / "munge.socket").exists)
        stack.enter_context(daemon(cluster, "slurmctld", "-D"))
        stack.enter_context(daemon(cluster, "slurmd", "-D"))
        stack.callback(_cancel_all, cluster)
        try:
            wait_for("an idle node", lambda: _node_state(cluster) == "idle")
        except BaseException:
            for log in home.glob("*.log"):
                print(f"{log.name}:\n{log.read_text()[-3000:]}")
            raise
        yield cluster


def _node_state(cluster: Cluster) -> str:
    try:
        return cluster.ask("sinfo", "--noheader", "--partition=gpu", "--format=%T")
    except subprocess.CalledProcessError:
        return "no answer yet"


def _cancel_all(cluster: Cluster) -> None:
    """End what a failed test has left, before the node's daemon goes."""
    cluster.ask("scancel", "--me")
    wait_for("an empty queue", lambda: not cluster.ask("squeue", "--noheader"))
