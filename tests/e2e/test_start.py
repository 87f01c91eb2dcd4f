"""Starting, refusing to start, reloading: the binary as an operator meets it."""

import json
import os
import signal
import socket
import stat
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import prompts as p
from conftest import clean_env
from processes import Running, binary

DEMO = json.dumps({"model": "demo", "messages": [{"role": "user", "content": "Hello!"}]}).encode()


def faregate(*arguments: str, folder: Path, env: dict[str, str] | None = None):
    """Runs the binary to its end."""
    return subprocess.run(
        [str(binary("faregate", "FAREGATE_BIN")), *arguments],
        env=clean_env(**(env or {})),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )


def serve(*arguments: str, folder: Path, env: dict[str, str] | None = None) -> Running:
    """Starts the binary as a server on a free loopback port."""
    command = [str(binary("faregate", "FAREGATE_BIN")), "--host", "127.0.0.1", "--port", "0"]
    command += ["--data-dir", str(folder / "data"), *arguments]
    return Running(command, clean_env(**(env or {})), folder)


def ask(url: str, key: str, body: bytes = DEMO) -> tuple[int, dict]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def refused(text: str, folder: Path, env: dict[str, str] | None = None) -> str:
    """What the binary says when it will not start with this config."""
    write(folder, text)
    done = faregate("--config", "config.yaml", "--host", "127.0.0.1", "--port", "0", folder=folder, env=env)
    assert done.returncode != 0
    return done.stderr + done.stdout


MODEL = """
model_list:
  - model_name: echo
    litellm_params:
      model: openai/gpt-4o
      api_key: sk-up
      api_base: {base}
"""


def test_a_first_start_needs_nothing_and_keeps_its_key_to_itself(tmp_path):
    server = serve(folder=tmp_path)
    try:
        path = tmp_path / "data" / "master_key"
        key = path.read_text().strip()
        assert key.startswith("sk-") and len(key) > 20
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        status, answer = ask(server.url, key)
        assert status == 200 and answer["choices"][0]["message"]["content"]
        assert ask(server.url, "sk-guess")[0] in (400, 401)
        assert server.log().count(key) == 1
    finally:
        assert server.stop() == 0

    again = serve(folder=tmp_path)
    try:
        assert path.read_text().strip() == key
        assert key not in again.log()
    finally:
        again.stop()


def test_a_well_known_master_key_is_refused_beyond_loopback(tmp_path):
    write(tmp_path, "general_settings:\n  master_key: sk-1234\n")
    done = faregate("--config", "config.yaml", "--host", "0.0.0.0", "--port", "0", folder=tmp_path)
    assert done.returncode != 0
    assert "dangerously_permit_weak_or_unset_master_key" in done.stderr + done.stdout


def test_a_config_that_is_not_there_is_named(tmp_path):
    done = faregate("--config", "nowhere.yaml", folder=tmp_path)
    assert done.returncode != 0 and "nowhere.yaml" in done.stderr


def test_all_errors_of_a_config_are_shown_at_once_with_their_lines(tmp_path):
    said = refused(
        "model_list:\n"
        "  - model_name: a\n"
        "    litellm_params:\n"
        "      model: nobodys-provider/x\n"
        "router_settings:\n"
        "  routing_strategy: least-bussy\n",
        tmp_path,
    )
    assert "config.yaml:4" in said and "nobodys-provider" in said
    assert "config.yaml:6" in said and "least-busy" in said


def test_a_missing_environment_variable_is_named_with_its_path(tmp_path):
    said = refused(
        "model_list:\n"
        "  - model_name: a\n"
        "    litellm_params:\n"
        "      model: openai/gpt-4o\n"
        "      api_key: os.environ/E2E_NOT_SET\n",
        tmp_path,
    )
    assert "E2E_NOT_SET" in said and "model_list[0].litellm_params.api_key" in said


def test_broken_yaml_is_an_error_with_its_line(tmp_path):
    said = refused("model_list:\n  - {model_name: [\n", tmp_path)
    assert "config.yaml:" in said


def test_a_port_in_use_is_said(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = faregate(
            "--host", "127.0.0.1", "--port", port, "--data-dir", str(tmp_path / "data"), folder=tmp_path
        )
    assert done.returncode != 0 and port in done.stderr


def test_check_reports_and_its_status_is_for_machines(tmp_path):
    write(tmp_path, MODEL.format(base="http://127.0.0.1:1/v1"))
    assert faregate("check", "--config", "config.yaml", folder=tmp_path).returncode == 0
    write(tmp_path, "model_list: 5\n")
    done = faregate("check", "--config", "config.yaml", folder=tmp_path)
    assert done.returncode != 0 and "config.yaml:1" in done.stdout + done.stderr


def test_version_and_help_are_there(tmp_path):
    assert "faregate" in faregate("--version", folder=tmp_path).stdout
    assert "--config" in faregate("--help", folder=tmp_path).stdout


def until(condition, seconds: float = 10):
    """Waits for something that another process will do; the deadline only bounds a failure."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


@pytest.mark.parametrize("by_signal", [False, True], ids=["file-change", "sighup"])
def test_a_reload_takes_effect_and_a_broken_file_does_not(tmp_path, upstream, by_signal):
    base = MODEL.format(base=f"{upstream}/v1")
    path = write(tmp_path, base)
    key = "sk-e2e-reload-5a1bd9027c"
    server = serve("--config", "config.yaml", folder=tmp_path, env={"LITELLM_MASTER_KEY": key})

    def served(model: str) -> bool:
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": p.ECHO}]}).encode()
        return ask(server.url, key, body)[0] == 200

    def change(text: str):
        # As editors do it: a new file takes the old one's name.
        (tmp_path / "config.new").write_text(text)
        os.replace(tmp_path / "config.new", path)
        if by_signal:
            server.process.send_signal(signal.SIGHUP)

    try:
        assert served("echo") and not served("echo-two")
        change(base.replace("model_name: echo", "model_name: echo-two"))
        until(lambda: served("echo-two"))
        assert not served("echo")
        seen = len(server.lines)
        change("model_list: [\n")
        until(lambda: any("config.yaml" in line for line in list(server.lines)[seen:]))
        assert served("echo-two")
    finally:
        assert server.stop() == 0
