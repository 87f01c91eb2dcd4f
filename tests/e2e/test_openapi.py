"""Live answers keep to the OpenAPI document, and nothing that the document allows makes the gateway fail.

Schemathesis makes the calls from the document that the gateway itself serves; the calls are the same in each run.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import serving

# A field of the wrong type may be read all the same (LiteLLM takes "1" for 1), and a call that the document
# allows may name what does not exist: these two checks forbid that.
NOT_ASKED = "negative_data_rejection,positive_data_acceptance"


@pytest.fixture(scope="module")
def own_gateway(upstream, tmp_path_factory):
    """A gateway of its own: what is called here deletes and resets."""
    settings = {"store_model_in_db": True}
    yield from serving(upstream, tmp_path_factory.mktemp("openapi"), general_settings=settings)


@pytest.mark.timeout(600)
def test_every_management_route_keeps_to_the_document(own_gateway):
    command = [str(Path(sys.executable).with_name("st")), "run", f"{own_gateway.url}/openapi.json"]
    command += ["-H", f"Authorization: Bearer {own_gateway.key}"]
    command += ["--checks", "all", "--exclude-checks", NOT_ASKED, "--exclude-tag", "model calls"]
    command += ["--phases", "coverage,fuzzing", "--max-examples", "3", "--seed", "1"]
    command += ["--generation-deterministic", "--request-timeout", "30", "--no-color", "--warnings", "off"]
    ran = subprocess.run(command, cwd=own_gateway.process.folder, capture_output=True, text=True, check=False)
    found = ran.stdout.find("FAILURES")
    assert ran.returncode == 0, ran.stdout[found:][:6000] + ran.stderr[-2000:]
