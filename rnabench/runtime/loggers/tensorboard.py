"""TensorBoard: a file of events in the folder of what is watched (`tensorboard --logdir runs` shows all in it)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from rnabench.runtime.files import HOST
from rnabench.runtime.watch import LOGGERS, Logger, Watched


@LOGGERS.register("tensorboard")
class TensorBoard(Logger):
    """Writes in the thread that logs: torch's SummaryWriter has a thread of its own, whose errors (a full disk) end in
    a traceback on the screen and, one step late or never, here."""

    library, install = "tensorboard", "rnabench[watch]"

    def __init__(self, watched: Watched) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.file = (watched.folder / f"events.out.tfevents.{time.time_ns()}.{HOST}.{os.getpid()}").open("xb")
        self.records = RecordWriter(self.file)
        self._write(file_version="brain.Event:2")  # what a reader takes for the beginning

    def log(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._write(step=step, summary=Summary(value=[
            Summary.Value(tag=name, simple_value=value) for name, value in values.items()]))

    def _write(self, **content: object) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self.records.write(Event(wall_time=time.time(), **content).SerializeToString())
        self.file.flush()

    def close(self) -> None:
        self.file.close()
