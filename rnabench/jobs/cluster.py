"""A recipe done by equal workers on a cluster (Slurm) or on this machine, which submitit starts and requeues.

A worker does what one of the processes of `--jobs` does: it claims what no other is at, until nothing is left. So any
number of them may be killed, preempted or requeued; the others, or the same command, go on.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rnabench.errors import InvalidValue, RnabenchError
from rnabench.jobs.reproduce import Place
from rnabench.jobs.worker import Worker
from rnabench.runtime.device import visible_gpus
from rnabench.runtime.files import writing
from rnabench.runtime.progress import Progress
from rnabench.runtime.stopping import StopRequest
from rnabench.settings.recipe import Recipe

if TYPE_CHECKING:
    from submitit import Job

KINDS = ("slurm", "local")
LOGS = ".cluster"  # in the folder of runs: a folder for each time that workers are started
SLURM_MINUTES, LOCAL_MINUTES = 240, 60 * 24 * 365  # of a worker, unless told otherwise
LEAST_MINUTES = 5  # some of them go into starting and saving
REQUEUED = 1000  # how often at most, when these are over
SIGNAL_SECONDS = 90  # before the end of these: enough to stop anywhere
POLL_SECONDS = 0.5
GRACE_SECONDS = 30.0  # to save their state, for workers that are cancelled


@dataclass(frozen=True)
class Cluster:
    """`workers` of them, each with `gpus_per_worker` GPUs (None: one on Slurm; here by turns one of those that there
    are), for so many `minutes` each, after which it is requeued.

    Raises InvalidValue for what cannot be had, and RnabenchError where submitit is not installed.
    """

    kind: str
    workers: int = 1
    gpus_per_worker: int | None = None
    minutes: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidValue("--cluster", self.kind, "slurm or local", KINDS)
        if self.workers < 1:
            raise InvalidValue("--workers", self.workers, "at least 1")
        if self.gpus_per_worker is not None and self.gpus_per_worker < 0:
            raise InvalidValue("--gpus-per-worker", self.gpus_per_worker, "0 or more")
        if self.minutes is not None and not LEAST_MINUTES <= self.minutes <= LOCAL_MINUTES:
            raise InvalidValue("--minutes", self.minutes, f"{LEAST_MINUTES} to {LOCAL_MINUTES}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise InvalidValue("--device", self.device, "auto, cpu or cuda with --cluster, which gives workers their "
                                                        "GPUs", ("auto", "cpu", "cuda"))
        if self.device == "cpu" and self.gpus_per_worker:
            raise InvalidValue("--gpus-per-worker", self.gpus_per_worker, "0 with --device cpu")
        _import_submitit()
        if self.kind == "slurm" and (missing := [each for each in ("sbatch", "srun") if shutil.which(each) is None]):
            raise InvalidValue("--cluster", "slurm", f"a machine with Slurm ({' and '.join(missing)} not found), or "
                                                     "local")
        if self.kind == "local" and self.workers * (self.gpus_per_worker or 0) > (here := len(visible_gpus())):
            raise InvalidValue("--gpus-per-worker", self.gpus_per_worker, f"at most {here // self.workers} with "
                                                                          f"{self.workers} workers: {here} GPUs here")

    @property
    def has_gpus(self) -> bool:
        """Whether workers are to have GPUs that this process need not have."""
        return self.kind == "slurm" and self._gpus > 0

    def __call__(self, chosen: Recipe, place: Place, jobs: int, progress: Progress, stop: StopRequest) -> None:
        """Start the workers, with `jobs` processes each, and wait for them; like `side_by_side`.

        Raises Stopped when the workers were cancelled, and RnabenchError if none of them came to the end.
        """
        when = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"  # ids of local jobs come again
        logs = place.runs.absolute() / LOGS / f"{place.folder.name}-{when}"
        running = dict(enumerate(self._submit(chosen, place, max(jobs, self._gpus), logs), 1))
        progress.line(f"{self.workers} workers ({self.kind}); what they say: {logs}")
        progress.begin(f"{self.workers} workers at work", 0)
        problems, submitted = [], list(running.values())
        try:
            while running and not stop:
                time.sleep(POLL_SECONDS)
                for number, job in [each for each in running.items() if each[1].done()]:
                    del running[number]
                    problem = self._problem(job)
                    problems += [problem] if problem else []
                    progress.line(f"worker {number} of {self.workers}: {problem or 'finished'}")
        finally:  # a second Ctrl-C comes here while they run
            if running:
                progress.line(f"cancelled: {len(running)} workers")
                self._cancel(list(running.values()))
            for job in submitted:  # only the logs stay: nothing that could be unpickled later
                job.paths.submitted_pickle.unlink(missing_ok=True)
                job.paths.result_pickle.unlink(missing_ok=True)
        if running:
            raise stop.stopped("the workers")
        if len(problems) == self.workers:
            raise RnabenchError(f"no worker came to the end: {problems[0]}; the same command goes on")

    @property
    def _gpus(self) -> int:
        """How many GPUs a worker is to have for itself."""
        if self.gpus_per_worker is not None:
            return self.gpus_per_worker
        return int(self.kind == "slurm" and self.device != "cpu")

    def _submit(self, chosen: Recipe, place: Place, jobs: int, logs: Path) -> Sequence[Job[Any]]:
        submitit = _import_submitit()
        with writing(logs):
            logs.mkdir(parents=True)
        try:
            executor = submitit.AutoExecutor(str(logs), self.kind, **{f"{self.kind}_max_num_timeout": REQUEUED})
            executor.update_parameters(name="rnabench")
            if self.kind == "slurm":  # partition, account and the like: sbatch reads SBATCH_PARTITION and so on
                executor.update_parameters(slurm_time=self.minutes or SLURM_MINUTES, gpus_per_node=self._gpus or
                                           None, slurm_signal_delay_s=SIGNAL_SECONDS)
            else:
                executor.update_parameters(timeout_min=self.minutes or LOCAL_MINUTES)
            with _deaf_to_the_terminal(), executor.batch():
                return [executor.submit(worker) for worker in self._workers(chosen, place, jobs)]
        except (OSError, RuntimeError, submitit.core.utils.FailedJobError) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise RnabenchError(f"--cluster: the workers cannot be started ({said})") from error

    def _workers(self, chosen: Recipe, place: Place, jobs: int) -> Iterator[Worker]:
        place = replace(place, runs=place.runs.absolute(), folder=place.folder.absolute())
        if self.kind == "slurm":  # which gives each its GPUs and cores
            yield from [Worker(chosen, place, jobs)] * self.workers
            return
        gpus = visible_gpus() if self.device != "cpu" else []
        each = self._gpus or int(self.gpus_per_worker is None)
        for number in range(self.workers):
            own = [gpus[(number * each + other) % len(gpus)] for other in range(each)] if gpus else []
            yield Worker(chosen, place, jobs, ",".join(own), max(1, torch.get_num_threads() // self.workers))

    def _problem(self, job: Job[Any]) -> str | None:
        """What kept a worker that is over from the end; None: nothing."""
        if self.kind == "local" and not job.paths.result_pickle.exists():
            return f"killed, or ended in disorder; its log: {job.paths.stderr}"
        if (error := job.exception()) is None:
            said: str | None = job.result()
            return said
        lines = str(error).splitlines() or [type(error).__name__]
        told = [line for line in lines if re.match(r"[\w.]+(: |$)", line)]  # as tracebacks end
        return f"{(told or lines[:1])[-1]}; its log: {job.paths.stderr}"

    def _cancel(self, jobs: Sequence[Job[Any]]) -> None:
        """Ask workers to save their state and leave; they are waited for if they are here."""
        if self.kind == "slurm":
            for job in jobs:
                job.cancel(check=False)
            return
        for _ in range(2):  # who is asked a second time is interrupted at once
            for job in jobs:
                if not job.done():
                    os.kill(int(job.job_id), signal.SIGTERM)  # of the process that passes it on, and is our child
            end = time.monotonic() + GRACE_SECONDS
            while time.monotonic() < end and not all(job.done() for job in jobs):
                time.sleep(0.1)


def _import_submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise RnabenchError(f"--cluster: submitit cannot be imported ({error}); pip install 'rnabench[cluster]'"
                            ) from None
    return submitit


@contextmanager
def _deaf_to_the_terminal() -> Iterator[None]:
    """Processes started inside do not get Ctrl-C, which a terminal sends to all: this one cancels them in order."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
