"""One gateway and one fake provider for the whole run."""

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from certificates import self_signed
from deployments import GROUPS, config
from processes import Running, binary

# What a child may inherit: no proxy settings and no provider key of whoever runs the tests.
INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "SSL_CERT_FILE", "RUST_BACKTRACE")


def clean_env(**extra: str) -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | extra


@dataclass
class Gateway:
    url: str
    key: str
    process: Running

    @property
    def certificate(self) -> Path:
        """What a client must trust when the gateway speaks TLS."""
        return self.process.folder / "certificate.pem"


@pytest.fixture(scope="session")
def upstream(tmp_path_factory) -> str:
    """Base URL of a fake provider."""
    process = Running(
        [str(binary("fake-provider", "FAKE_PROVIDER_BIN")), "--port", "0"],
        clean_env(),
        tmp_path_factory.mktemp("upstream"),
    )
    yield process.url
    process.stop()


def serving(
    upstream: str, folder: Path, *arguments: str, deployments: list[dict] = (), **sections: dict
) -> Iterator[Gateway]:
    """A gateway that serves every group of `deployments.GROUPS` and these deployments, until its test is over.

    `sections` are further settings by section of the config, e.g. `litellm_settings={"store_audit_logs": True}`.
    """
    settings = config(upstream)
    settings["model_list"] += deployments
    for section, values in sections.items():
        settings.setdefault(section, {}).update(values)
    # JSON is YAML, and needs no quoting rules here.
    (folder / "config.yaml").write_text(json.dumps(settings))
    key = f"sk-e2e-{secrets.token_urlsafe(24)}"
    command = [str(binary("faregate", "FAREGATE_BIN")), "--config", "config.yaml", *arguments]
    command += ["--host", "127.0.0.1", "--port", "0", "--data-dir", str(folder / "data")]
    process = Running(command, clean_env(LITELLM_MASTER_KEY=key), folder)
    yield Gateway(process.url, key, process)
    status = process.stop()
    assert status == 0, f"the gateway ended with {status}:\n{process.log()}"
    assert key not in process.log(), "the master key is in the log"


@pytest.fixture(scope="session")
def gateway(upstream: str, tmp_path_factory) -> Iterator[Gateway]:
    """A running gateway."""
    yield from serving(upstream, tmp_path_factory.mktemp("gateway"))


@pytest.fixture(scope="session")
def tls_gateway(upstream: str, tmp_path_factory) -> Iterator[Gateway]:
    """A running gateway that speaks TLS."""
    folder: Path = tmp_path_factory.mktemp("tls-gateway")
    certificate, key = self_signed(folder)
    yield from serving(
        upstream, folder, "--ssl_certfile_path", str(certificate), "--ssl_keyfile_path", str(key)
    )


@pytest.fixture(params=GROUPS)
def group(request) -> str:
    """Each model group in turn."""
    return request.param


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the gateway's last log lines with a failure."""
    report = yield
    if report.failed and (gateway := getattr(item, "funcargs", {}).get("gateway")):
        report.sections.append(("gateway log", "\n".join(list(gateway.process.lines)[-15:])))
    return report
