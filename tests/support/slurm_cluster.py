"""A real SLURM with one node on this machine and two fake GPUs, running while a test needs it.

No systemd, cgroups, accounting or root; everything is in one temporary folder; a SLURM that the
machine may already have is neither read nor changed.
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

Result = TypeVar("Found")

# On most machines the daemons are in folders that are not on a user's PATH.
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "setpriv")
GPUS = ("/dev/null", "/dev/zero")  # every machine has these devices

# The node claims more cores and memory than exist, so that only GPUs limit what runs at once.
# The partitions are those named in profiles/slurm and, with an hour, in docs/cluster.md; SLURM
# refuses what asks for more.
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
PartitionName=gpu-hour Nodes={host} MaxTime=60
EnforcePartLimits=ALL
"""

# Runs as each job's prolog and epilog: what SLURM assigned to which job, and until when.
RECORD = """#!/bin/sh
now=$(date +%s.%N)
echo "$SLURM_SCRIPT_CONTEXT $now $SLURM_JOB_ID ${{SLURM_JOB_GPUS:-none}}" >> {home}/records
"""

# The SLURM plugin drops every SLURM_* variable, including this one, before the srun in a job.
SRUN = """#!/bin/sh
SLURM_CONF={home}/slurm.conf exec {srun} "$@"
"""


class Allocation(NamedTuple):
    """When a job had a node, and which GPUs it was assigned there: "none" or, for example, "0"."""

    job: str
    gpus: str
    start: float
    end: float


class Cluster:
    """The commands and records of a running cluster."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            # The variables of an enclosing job would be mistaken for this cluster's.
            **{name: value for name, value in os.environ.items() if not name.startswith("SLURM_")},
            "SLURM_CONF": str(home / "slurm.conf"),
            "PATH": f"{home}{os.pathsep}{PATH}",
        }

    def ask(self, *words: str) -> str:
        """Return what a SLURM command prints, without its trailing newline."""
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=True, timeout=30
        ).stdout.rstrip()

    def jobs(self) -> list[dict[str, str]]:
        """Return SLURM's record of every job, in order of submission: field -> value."""
        lines = self.ask("scontrol", "show", "job", "--oneliner").splitlines()
        return [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines if "JobId=" in line]

    def allocations(self) -> list[Allocation]:
        """Return what prolog and epilog recorded about the jobs that have ended."""
        starts: dict[str, float] = {}
        ended = []
        for line in (self.home / "records").read_text().splitlines():
            context, moment, job, gpus = line.split()
            if context.startswith("prolog"):
                starts[job] = float(moment)
            else:
                ended.append(Allocation(job, gpus, starts[job], float(moment)))
        return ended


def wait_for(what: str, poll: Callable[[], Result], seconds: float = 60) -> Result:
    """Return the result of `poll()` as soon as it is truthy; fail after some seconds."""
    end = time.monotonic() + seconds
    while not (result := poll()):
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {seconds} s")
        time.sleep(0.1)
    return result


def write_configuration(home: Path) -> None:
    """Write the configuration files of a cluster into its folder."""
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
    # Old versions of SLURM fail with this file, new ones require control groups without it.
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
    """Run a daemon for the duration of the block; it also ends when this process is killed."""
    with (cluster.home / f"{words[0]}.log").open("w") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *words],
            env=cluster.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the tests
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
        # On termination, for example by a time limit, the process still has to stop its cluster.
        before = signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated"))
        stack.callback(signal.signal, signal.SIGTERM, before)
        home = Path(folder)
        write_configuration(home)
        cluster = Cluster(home)
        names = ("key-file", "socket", "pid-file", "seed-file")
        munge = [f"--{name}={home}/munge.{name}" for name in names]
        munge.append("--force")  # although no other user can reach the socket
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
    """End what a failed test has left, before the node's daemon stops."""
    cluster.ask("scancel", "--me")
    wait_for("an empty queue", lambda: not cluster.ask("squeue", "--noheader"))
