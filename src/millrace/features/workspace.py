"""How much memory a join or a materialization may take, and where what does not fit waits."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from millrace.core.errors import DataError

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""

_LEAST_MEMORY = 64 << 20
_UNKNOWN_MEMORY = 2 << 30
_PREFIX = "run-"


@dataclass(frozen=True)
class Workspace:
    """Limits of one piece of work over many rows.

    Parameters
    ----------
    memory_bytes : int, optional
        About what it may take. Default: half of what the machine, or the control group of the process, has left.
    folder : Path, optional
        Where rows that do not fit wait. Default: the system's folder for temporary files.
    """

    memory_bytes: int | None = None
    folder: Path | None = None

    def limit(self) -> int:
        """Bytes that may be taken now."""
        if self.memory_bytes is not None:
            return self.memory_bytes
        return max(available_memory() // 2, _LEAST_MEMORY)

    @contextmanager
    def spill(self) -> Iterator[Path]:
        """An empty folder that is gone afterwards, also after an error; and so are those of processes that were killed.

        Raises
        ------
        DataError
            FEAT-14 when the disk is full, or the folder cannot be written.
        """
        home = self.folder or Path(tempfile.gettempdir()) / f"millrace-{os.getuid()}"
        try:
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            run, lock = _claim(home)
        except OSError as error:
            raise _no_room(error, home) from error
        try:
            yield run
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
                raise
            raise _no_room(error, home) from error
        finally:
            shutil.rmtree(run, ignore_errors=True)
            os.close(lock)


def available_memory() -> int:
    """Bytes that may still be taken before the machine, this process or its control group reaches its limit."""
    found = [size for size in (_machine(), _process(), *_control_groups()) if size is not None]
    return min(found, default=_UNKNOWN_MEMORY)


def _claim(home: Path) -> tuple[Path, int]:
    """A new folder, and the lock that says its process lives; folders whose process does not are removed."""
    import fcntl  # only where rows do not fit in memory: not every system has it

    with (home / ".lock").open("w") as gate:
        # Between being made and being locked, a folder would look like one that was left behind.
        fcntl.flock(gate, fcntl.LOCK_EX)
        for left in home.glob(f"{_PREFIX}*"):
            if not _is_in_use(left):
                shutil.rmtree(left, ignore_errors=True)
        run = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=home))
        lock = os.open(run / ".lock", os.O_CREAT | os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return run, lock


def _is_in_use(run: Path) -> bool:
    import fcntl

    try:
        lock = os.open(run / ".lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _no_room(error: OSError, home: Path) -> DataError:
    free = f"{shutil.disk_usage(home).free / 1e9:.1f} GB are free there" if home.is_dir() else None
    return DataError(
        "FEAT-14",
        f"rows that do not fit in memory cannot be put aside: {str(error).splitlines()[0]}",
        where=str(home),
        why=free,
        fix="make room there, or name another folder: Workspace(folder=...); nothing of the work was kept",
    )


def _machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError):
        return None


def _process() -> int | None:
    """What the limit of this process leaves (``ulimit -d``)."""
    try:
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_DATA)
        if most == resource.RLIM_INFINITY:
            return None
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return max(most - int(line.split()[1]) * 1024, 0)
    except (ImportError, OSError):
        pass
    return None


def _control_groups() -> Iterator[int | None]:
    """What is left in each control group that holds this process (version 2 and 1)."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    root = Path("/sys/fs/cgroup")
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            folder = root / path.lstrip("/")
            for group in (folder, *folder.parents):
                yield _left(group / "memory.max", group / "memory.current", group / "memory.stat")
                if group == root:
                    break
        elif "memory" in controllers.split(","):
            group = root / "memory" / path.lstrip("/")
            yield _left(group / "memory.limit_in_bytes", group / "memory.usage_in_bytes", group / "memory.stat")


def _left(most: Path, used: Path, stat: Path) -> int | None:
    try:
        limit, now = most.read_text().strip(), int(used.read_text())
        facts = dict(line.split() for line in stat.read_text().splitlines())
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    # Pages of files are given back when memory is needed.
    cached = int(facts.get("inactive_file", 0)) + int(facts.get("active_file", 0))
    return max(int(limit) - now + cached, 0)
