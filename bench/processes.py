"""The servers under load, and what the kernel says about them."""

import os
import re
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

LISTENING = re.compile(r"listening on (https?://[0-9.:]+)")


class Server:
    """A process and the address it serves; its log goes to a file."""

    def __init__(self, name: str, command: list[str], folder: Path, env: dict[str, str], url: str | None):
        self.name = name
        self.url = url or ""
        self.log = folder / f"{name}.log"
        inherited = {k: os.environ[k] for k in ("PATH", "HOME") if k in os.environ}
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                env=inherited | env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=self.raise_limit,
            )
        self.pid = self.process.pid

    @staticmethod
    def raise_limit():
        """Allows as many open files as the machine does."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def wait(self):
        """Until it accepts connections."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended:\n{self.log.read_text(errors='replace')}")
            if not self.url and (found := LISTENING.search(self.log.read_text(errors="replace"))):
                self.url = found.group(1)
            if self.url and self.accepts():
                return
            time.sleep(0.002)
        raise RuntimeError(f"{self.name} did not start:\n{self.log.read_text(errors='replace')}")

    def accepts(self) -> bool:
        host, port = self.url.split("//")[1].split(":")
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def family(pid: int) -> list[int]:
    """The process and its children (nginx works in children)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def cpu_seconds(pids: list[int]) -> float:
    """Time on a processor so far, user and system, of all threads.

    From the scheduler, in nanoseconds: the ticks of /proc/<pid>/stat are 10 ms each and charge a whole one to
    whoever runs when the clock strikes, which says little about work that comes in microseconds.
    """
    return sum(thread_seconds(pids).values())


def booking_seconds(pids: list[int]) -> float:
    """Of these, what the threads took that write the request log to the database, after the answers are out."""
    return sum(seconds for name, seconds in thread_seconds(pids).items() if BOOKING.match(name))


# The runtime of jobs and of management calls, and the database's own threads; requests run on `faregate-1` and on.
BOOKING = re.compile(r"^(faregate|sqlx-sqlite.*)$")


def thread_seconds(pids: list[int]) -> dict[str, float]:
    """Seconds on a processor by the name of the thread."""
    seconds: dict[str, float] = {}
    for task in (task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()):
        name = (task / "comm").read_text().strip()
        used = int((task / "schedstat").read_text().split()[0]) / 1e9
        seconds[name] = seconds.get(name, 0.0) + used
    return seconds


def memory(pids: list[int]) -> dict[str, int]:
    """Resident bytes now and at their peak since `reset_peak`, summed."""
    total = {"now": 0, "peak": 0}
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        total["now"] += 1024 * int(re.search(r"VmRSS:\s*(\d+)", status).group(1))
        total["peak"] += 1024 * int(re.search(r"VmHWM:\s*(\d+)", status).group(1))
    return total


def reset_peak(pids: list[int]):
    """Forgets the peaks seen so far."""
    for pid in pids:
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except OSError:
            # Another user's process (nginx drops privileges): its peak then counts from its start.
            pass
