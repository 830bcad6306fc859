"""Where a step runs: in this process, in a forked worker, or in a fresh interpreter.

A worker process lives as long as its runner and takes one step at a time, so libraries are imported once. It dies with
its coordinator, and is killed with everything it started when a step overstays its time. The coordinator must import
nothing heavy and start no thread before a fork: threads do not survive it, but their locks do.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from millrace.core.clock import ManualClock, SystemClock
from millrace.core.errors import MillraceError, ModelError
from millrace.flow.lifecycle import get_pipeline
from millrace.flow.run import find_run
from millrace.flow.run_step import StepResult, run_step
from millrace.flow.wiring import Wiring
from millrace.store.lease import Lease

if TYPE_CHECKING:
    from millrace.flow.project import Project


@dataclass(frozen=True)
class Task:
    """One step of one run, to be done under a lease."""

    run_id: str
    step: str
    lease: Lease


class Worker(Protocol):
    """Takes one task at a time."""

    def submit(self, task: Task) -> None: ...

    def poll(self, seconds: float) -> bool:
        """Whether an answer is there, after waiting at most `seconds`."""
        ...

    def result(self) -> StepResult:
        """The answer. Raises the error that prevented one; ModelError RUN-10 when the process died."""
        ...

    def kill(self) -> None:
        """End the task at once."""
        ...

    def close(self) -> None: ...


class InlineWorker:
    """Runs the task in the calling process, while it is being submitted. It cannot be killed."""

    def __init__(self, project: Project) -> None:
        self._doer = _Doer(project)
        self._answer: StepResult | MillraceError | None = None

    def submit(self, task: Task) -> None:
        try:
            self._answer = self._doer.do(task)
        except MillraceError as error:
            self._answer = error

    def poll(self, seconds: float) -> bool:
        return self._answer is not None

    def result(self) -> StepResult:
        answer, self._answer = self._answer, None
        if isinstance(answer, MillraceError):
            raise answer
        if answer is None:
            raise RuntimeError("no task was submitted")
        return answer

    def kill(self) -> None:
        self._answer = None

    def close(self) -> None:
        self._doer.close()


class ProcessWorker:
    """Runs tasks in a process of its own: forked from this one, or a fresh interpreter (``spawn``)."""

    def __init__(self, project: Project, method: str) -> None:
        self._project = project
        self._context: Any = multiprocessing.get_context(method)
        self._process: Any = None
        self._pipe: Connection | None = None

    def start(self) -> None:
        """Start the process now; `submit` does it when needed."""
        if self._process is not None and self._process.is_alive():
            return
        self._pipe, theirs = self._context.Pipe()
        if self._context.get_start_method() == "fork":
            arguments: tuple[Any, ...] = (theirs, self._project, os.getpid())
            target: Any = _serve
        else:
            settings = self._project.settings
            arguments = (theirs, str(settings.root), settings.environment, os.getpid())
            target = _serve_fresh
        self._process = self._context.Process(target=target, args=arguments, daemon=False)
        sys.stdout.flush()
        sys.stderr.flush()
        self._process.start()
        theirs.close()

    def submit(self, task: Task) -> None:
        self.start()
        assert self._pipe is not None
        try:
            self._pipe.send(task)
        except (BrokenPipeError, ConnectionResetError):
            self.kill()  # it died between two tasks: a new one takes this one
            self.start()
            self._pipe.send(task)

    def poll(self, seconds: float) -> bool:
        return self._pipe is not None and self._pipe.poll(seconds)

    def result(self) -> StepResult:
        assert self._pipe is not None
        try:
            answer = self._pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            code = self._end()
            raise ModelError(
                "RUN-10",
                f"the worker process ended in the middle of a step ({_describe_exit(code)})",
                why="a crash in a native library, too little memory, or somebody killed it",
                fix='the step is tried again; if it keeps happening, run with executor = "spawn"',
            ) from error
        if isinstance(answer, MillraceError):
            raise answer
        result: StepResult = answer
        return result

    def kill(self) -> None:
        if self._process is not None and self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
        self._end()

    def close(self) -> None:
        if self._pipe is not None:
            with contextlib.suppress(OSError):
                self._pipe.send(None)
        self._end()

    def _end(self) -> int | None:
        if self._process is None:
            return None
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        code: int | None = self._process.exitcode
        self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process, self._pipe = None, None
        return code


def make_worker(project: Project, executor: str) -> Worker:
    """A worker of the kind named in millrace.toml: ``inline``, ``fork`` or ``spawn``."""
    return InlineWorker(project) if executor == "inline" else ProcessWorker(project, executor)


class _Doer:
    """Does tasks in the process it lives in, with one set of open stores."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._wiring = Wiring(project, SystemClock())
        self._replayed: Wiring | None = None

    def do(self, task: Task) -> StepResult:
        run = find_run(self._wiring.ledger, task.run_id)
        wiring = self._wiring
        if run.is_replay:
            if self._replayed is None:
                self._replayed = Wiring(self._project, ManualClock(run.as_of))
            wiring = self._replayed
            clock = wiring.clock
            assert isinstance(clock, ManualClock)
            clock.set(run.as_of)
        pipeline = get_pipeline(self._project, run.pipeline)
        return run_step(wiring, pipeline, task.run_id, task.step, task.lease)

    def close(self) -> None:
        self._wiring.close()
        if self._replayed is not None:
            self._replayed.close()


def _serve(pipe: Connection, project: Project, parent: int) -> None:
    _follow(parent)
    # Workers share the machine: without a limit each would start a thread per core, and they would stand in line.
    threads = max(1, (os.cpu_count() or 1) // project.settings.active.workers)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    doer = _Doer(project)
    while True:
        try:
            task = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            break
        if task is None:
            break
        try:
            pipe.send(doer.do(task))
        except MillraceError as error:
            pipe.send(error)
    doer.close()


def _serve_fresh(pipe: Connection, root: str, environment: str, parent: int) -> None:
    from millrace.flow.project import load_project

    _serve(pipe, load_project(Path(root), environment=environment), parent)


def _follow(parent: int) -> None:
    """Become a process group of one's own that dies with the coordinator."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator decides what an interrupt means
    if sys.platform == "linux":
        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _describe_exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
