"""What a worker of `jobs.cluster` does. submitit pickles it into a file of its own, which its own job reads."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from rnabench.errors import RnabenchError
from rnabench.jobs.reproduce import Place, side_by_side
from rnabench.runtime.progress import Lines
from rnabench.runtime.stopping import SIGNALS, Stopped, StopRequest
from rnabench.settings.recipe import Recipe

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission


@dataclass(frozen=True)
class Worker:
    """Does what is chosen of a recipe, with `jobs` processes.

    `gpus`: the only ones that it sees (None: as it is); `threads`: its share of the CPU's (None: all).
    """

    chosen: Recipe
    place: Place
    jobs: int
    gpus: str | None = None
    threads: int | None = None

    def __call__(self) -> str | None:
        """Work until nothing is left; returns what went wrong, if something did."""
        from submitit import JobEnvironment

        if self.gpus is not None:  # before anything here looks for one
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpus
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        preemption = getattr(signal, f"SIG{JobEnvironment.USR_SIG}")
        try:
            with StopRequest(None, {*SIGNALS, preemption}) as stop, Lines(_say) as lines:
                side_by_side(self.chosen, self.place, self.jobs, lines, stop)
        except Stopped:
            if preemption in stop.asked_by:
                signal.raise_signal(preemption)  # now it is submitit's: `checkpoint`, and back into the queue
            sys.exit(3)  # without a result: if Slurm requeues it by itself, it is not over
        except RnabenchError as error:
            return str(error)
        return None

    def checkpoint(self) -> DelayedSubmission:
        """What is to be done when it comes back: the same, which goes on from what is saved."""
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(self)


def _say(text: str) -> None:
    print(text, flush=True)  # submitit puts it into the log
