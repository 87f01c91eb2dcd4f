"""Embeddings, rankings and transcriptions with the official SDKs, through the built binary."""

import io
import wave

import httpx
import openai
import pytest

from conftest import serving

EMBEDDERS = ["small", "cohere-embed", "gemini-embed", "ollama-embed"]


def deployments(upstream: str) -> list[dict]:
    params = {
        "small": {"model": "openai/text-embedding-3-small", "api_key": "sk-up", "api_base": f"{upstream}/v1"},
        "cohere-embed": {"model": "cohere/embed-v4.0", "api_key": "co-up", "api_base": upstream},
        "gemini-embed": {"model": "gemini/gemini-embedding-001", "api_key": "AIza-up", "api_base": upstream},
        "ollama-embed": {"model": "ollama/nomic-embed-text", "api_base": upstream},
        "ranker": {"model": "cohere/rerank-v3.5", "api_key": "co-up", "api_base": upstream},
        "whisper": {"model": "openai/whisper-1", "api_key": "sk-up", "api_base": f"{upstream}/v1"},
    }
    return [{"model_name": name, "litellm_params": it} for name, it in params.items()]


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    settings = {"cache": True, "cache_params": {"type": "local"}}
    folder = tmp_path_factory.mktemp("tasks")
    yield from serving(upstream, folder, deployments=deployments(upstream), litellm_settings=settings)


@pytest.fixture
def client(gateway) -> openai.OpenAI:
    return openai.OpenAI(api_key=gateway.key, base_url=f"{gateway.url}/v1", max_retries=0, timeout=30)


def recording(seconds: float) -> io.BytesIO:
    """Silence, as a file with a name."""
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0" * int(8000 * seconds))
    out.seek(0)
    out.name = "silence.wav"
    return out


@pytest.mark.parametrize("model", EMBEDDERS)
def test_texts_become_vectors_of_the_length_asked_for(client, model):
    answer = client.embeddings.create(model=model, input=["one text", "another"], dimensions=32)
    assert [row.index for row in answer.data] == [0, 1]
    assert {len(row.embedding) for row in answer.data} == {32}
    assert answer.model == model
    # The SDK asks for base64 and unpacks it; numbers are the same.
    floats = client.embeddings.create(
        model=model, input=["one text", "another"], dimensions=32, encoding_format="float"
    )
    for packed, plain in zip(answer.data, floats.data):
        assert packed.embedding == pytest.approx(plain.embedding, abs=1e-6)


def test_azures_client_reaches_the_same_models(gateway):
    client = openai.AzureOpenAI(
        api_key=gateway.key, azure_endpoint=gateway.url, api_version="2024-10-21", max_retries=0, timeout=30
    )
    # Azure's clients send the key in a header of their own and the model in the path.
    client = client.with_options(default_headers={"Authorization": f"Bearer {gateway.key}"})
    assert len(client.embeddings.create(model="small", input="x").data) == 1


def test_a_repeated_embedding_is_free(client):
    texts = ["what is cached", "costs nothing"]
    client.embeddings.create(model="small", input=texts)
    again = client.embeddings.with_raw_response.create(model="small", input=texts)
    assert again.headers["x-litellm-response-cost"] == "0"
    assert again.headers["x-litellm-cache-key"]


def test_documents_are_ranked(gateway):
    body = {"model": "ranker", "query": "red fox", "documents": ["a whale", "a red fox"], "return_documents": True}
    answer = httpx.post(
        f"{gateway.url}/v1/rerank", json=body, headers={"Authorization": f"Bearer {gateway.key}"}, timeout=30
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["results"][0] == {
        "index": 1,
        "relevance_score": 1.0,
        "document": {"text": "a red fox"},
    }


def test_speech_becomes_text(client):
    answer = client.audio.transcriptions.create(model="whisper", file=recording(1.5), language="en")
    assert answer.text.startswith("silence.wav holds")
    words = client.audio.transcriptions.create(model="whisper", file=recording(1.5), response_format="verbose_json")
    assert words.duration == 2.0
    # A text says nothing of its length: the file does.
    plain = client.audio.transcriptions.with_raw_response.create(
        model="whisper", file=recording(1.5), response_format="text"
    )
    assert plain.text.startswith("silence.wav holds")
    assert float(plain.headers["x-litellm-response-cost"]) == pytest.approx(1.5 * 0.0001)


def test_a_wrong_member_is_named(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model="cohere-embed", input=[{"no": "text"}])
    assert refused.value.param == "input[0]"
