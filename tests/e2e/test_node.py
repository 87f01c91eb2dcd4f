"""Runs the Node suite (official Node SDKs, Vercel AI SDK) on the same gateway."""

import os
import subprocess
from pathlib import Path

import pytest

from deployments import CLIENTS, GROUPS

FOLDER = Path(__file__).parent / "node"


@pytest.mark.timeout(300)
def test_the_node_suite_passes(gateway, capsys):
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    env |= {"GATEWAY_URL": gateway.url, "GATEWAY_KEY": gateway.key}
    env |= {"GROUPS": ",".join(GROUPS), "CLIENTS": ",".join(sorted(CLIENTS))}
    done = subprocess.run(
        ["node", "--test", "--test-reporter=tap"], cwd=FOLDER, env=env, capture_output=True, text=True
    )
    with capsys.disabled():
        # node's closing lines, for the summary of the whole run
        print()
        for line in done.stdout.splitlines():
            if line.startswith(("# tests", "# pass", "# fail", "# skipped")):
                print(line)
    first = done.stdout.find("\nnot ok")
    assert done.returncode == 0, done.stdout[first : first + 4000] + done.stderr[-2000:]
