"""Starts the built binaries and learns from their log where they listen."""

import os
import re
import signal
import subprocess
import threading
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LISTENING = re.compile(r"listening on (https?://[0-9.:]+)")


def binary(name: str, variable: str) -> Path:
    """The release binary, the static one first."""
    if path := os.environ.get(variable):
        return Path(path)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    found = [*target.glob(f"*-unknown-linux-gnu/release/{name}"), target / "release" / name]
    for path in found:
        if path.is_file():
            return path
    raise FileNotFoundError(f"{name} is not built: run scripts/static-build.sh")


class Running:
    """A process that logs `listening on http(s)://...`; its log is kept for failures."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: Path):
        self.lines: deque[str] = deque(maxlen=2000)
        self.folder = cwd
        self.url = ""
        self._known = threading.Event()
        self.process = subprocess.Popen(
            command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._known.wait(timeout=30)
        if not self.url:
            self.stop()
            raise RuntimeError(f"{command[0]} did not say where it listens:\n{self.log()}")

    def _read(self):
        for raw in self.process.stdout:
            line = raw.decode(errors="replace").rstrip()
            self.lines.append(line)
            if not self.url and (found := LISTENING.search(line)):
                self.url = found.group(1)
                self._known.set()
        self._known.set()

    def log(self) -> str:
        return "\n".join(self.lines)

    def stop(self) -> int:
        """Asks the process to end; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        status = self.process.wait()
        self._reader.join(timeout=5)
        return status
