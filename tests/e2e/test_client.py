"""The TypeScript client: generated from the binary's document, compiled in strict mode, used on a gateway."""

import os
import subprocess
from pathlib import Path

import pytest

from processes import binary

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_the_typescript_client_is_generated_compiles_and_works(gateway):
    env = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "FAREGATE_BIN": str(binary("faregate", "FAREGATE_BIN")),
        "FAREGATE_URL": gateway.url,
        "FAREGATE_KEY": gateway.key,
    }
    for command in (["scripts/client.sh"], ["npm", "test", "--silent", "--prefix", "clients/typescript"]):
        ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
