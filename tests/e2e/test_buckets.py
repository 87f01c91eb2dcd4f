"""Answers kept in a bucket, against the tool the field tests its S3 code with."""

import json
import urllib.error
import urllib.request

import boto3
import pytest
from moto.server import ThreadedMotoServer

from conftest import clean_env
from processes import Running, binary

REGION = "eu-west-1"
QUESTION = json.dumps({"model": "demo", "messages": [{"role": "user", "content": "Hello!"}]}).encode()


@pytest.fixture(scope="module")
def s3():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name=REGION,
        aws_access_key_id="AKTEST",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket="answers", CreateBucketConfiguration={"LocationConstraint": REGION})
    yield client
    server.stop()


def config(upstream: str, s3, bucket: str) -> str:
    model = {"model": "openai/gpt-4o", "api_base": f"{upstream}/v1", "api_key": "sk-fake"}
    params = {
        "type": "s3",
        "s3_bucket_name": bucket,
        "s3_region_name": REGION,
        "s3_endpoint_url": s3.meta.endpoint_url,
        "s3_aws_access_key_id": "AKTEST",
        "s3_aws_secret_access_key": "secret",
        "s3_path": "kept here/",
    }
    settings = {
        "model_list": [{"model_name": "demo", "litellm_params": model}],
        "litellm_settings": {"cache": True, "cache_params": params},
    }
    return json.dumps(settings)


def call(process: Running, path: str, body: bytes | None = None):
    headers = {"Authorization": "Bearer sk-master", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{process.url}{path}", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, answer.headers, json.load(answer)


def start(folder, upstream, s3, bucket="answers") -> Running:
    (folder / "config.yaml").write_text(config(upstream, s3, bucket))
    command = [str(binary("faregate", "FAREGATE_BIN")), "--config", "config.yaml", "--host", "127.0.0.1"]
    command += ["--port", "0", "--data-dir", str(folder / "data")]
    return Running(command, clean_env(LITELLM_MASTER_KEY="sk-master"), folder)


def names(s3) -> list[str]:
    return [found["Key"] for found in s3.list_objects_v2(Bucket="answers").get("Contents", [])]


def test_answers_are_kept_in_a_bucket_found_by_another_gateway_and_dropped(upstream, s3, tmp_path):
    s3.put_object(Bucket="answers", Key="somebody's", Body=b"")
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    one = start(first, upstream, s3)
    try:
        assert call(one, "/cache/ping")[2]["cache_type"] == "s3"
        _, _, answer = call(one, "/v1/chat/completions", QUESTION)
        # The answer is written beside the request; asking again finds it, or writes the same.
        for _ in range(100):
            _, headers, _ = call(one, "/v1/chat/completions", QUESTION)
            if "x-litellm-cache-key" in headers:
                break
        kept = [name for name in names(s3) if name.startswith("kept here/faregate/")]
        assert len(kept) == 1, names(s3)
    finally:
        assert one.stop() == 0
    two = start(second, upstream, s3)
    try:
        _, headers, again = call(two, "/v1/chat/completions", QUESTION)
        assert "x-litellm-cache-key" in headers, two.log()
        assert again["choices"] == answer["choices"]
        call(two, "/cache/flushall", b"{}")
        assert names(s3) == ["somebody's"]
    finally:
        assert two.stop() == 0


def test_a_bucket_that_is_not_there_fails_no_request_and_is_said(upstream, s3, tmp_path):
    process = start(tmp_path, upstream, s3, bucket="nowhere")
    try:
        assert call(process, "/v1/chat/completions", QUESTION)[0] == 200
        with pytest.raises(urllib.error.HTTPError) as refused:
            call(process, "/cache/ping")
        assert refused.value.code == 503
        assert b"NoSuchBucket" in refused.value.read()
    finally:
        assert process.stop() == 0
