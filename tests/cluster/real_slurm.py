"""A real Slurm of two nodes on this machine, in a folder of its own: munged, slurmctld and two slurmd, as root.

Debian and Ubuntu: apt-get install slurm-wlm
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "srun")
START_S = 60.0
CONF = """\
ClusterName=test
SlurmctldHost={host}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={port}
SlurmctldPidFile={root}/slurmctld.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdPidFile={root}/slurmd.%n.pid
SlurmdLogFile={root}/slurmd.%n.log
SlurmdSpoolDir={root}/spool.%n
StateSaveLocation={root}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
KillWait=20
MinJobAge=10
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={port1} CPUs=2 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={port2} CPUs=2 State=UNKNOWN
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """What is missing to start one; empty if nothing is."""
    missing = [p for p in PROGRAMS if shutil.which(p, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if missing:
        return f"no {', '.join(missing)} here: apt-get install slurm-wlm"
    return "" if os.geteuid() == 0 else "starting Slurm's daemons takes root"


class RealSlurm:
    """Use as a context; `environment` makes its commands speak to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("state", "spool.n1", "spool.n2"):
            (root / folder).mkdir(parents=True)
        self.environment = {"SLURM_CONF": str(root / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> RealSlurm:
        ports = dict(zip(("port", "port1", "port2"), _free_ports(3), strict=True))
        (self.root / "slurm.conf").write_text(CONF.format(root=self.root, host=socket.gethostname(), **ports))
        key = self.root / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = [
            f"--{n}={self.root}/munge.{n.partition('-')[0]}" for n in ("socket", "pid-file", "log-file", "seed-file")
        ]
        try:
            self._start("munged", "--foreground", "--force", f"--key-file={key}", *files)
            self._until(lambda: (self.root / "munge.socket").exists(), "munged")
            self._start("slurmctld", "-D", "-i")
            for node in ("n1", "n2"):
                self._start("slurmd", "-D", "-N", node)
            self._until(lambda: self.run("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == "2", "both nodes")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self.run("squeue", "-h", "-o", "%i").split():
            self.run("scancel", number)
        self._until(lambda: not self.run("squeue", "-h").strip(), "an empty queue")
        self._end()

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False
        )
        return done.stdout

    def _start(self, *command: str) -> None:
        with (self.root / "daemons.log").open("ab") as log:
            environment = {**os.environ, **self.environment}
            self._daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

    def _until(self, happens: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + START_S
        while not happens():
            assert time.monotonic() < until, f"{what} did not come; see {self.root}/*.log"
            time.sleep(0.2)

    def _end(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
