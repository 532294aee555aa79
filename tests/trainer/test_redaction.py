"""No message has a secret: as it is, encoded, in part, or only something that looks like one."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from whisper_finetune_trainer.messages import redaction

KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
PRIVATE_KEY = (
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQ\n-----END PRIVATE KEY-----\n"
)
ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": KEY,
    "HF_TOKEN": "hf_TOPSECRET",
    "MLFLOW_TRACKING_URI": "https://me:hunter2@tracker",
    "GOOGLE_APPLICATION_CREDENTIALS_JSON": json.dumps({"type": "service_account", "private_key": PRIVATE_KEY}),
    "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=https;AccountName=speech;AccountKey=Zm9vYmFyYmF6==",
    "TOKENIZERS_PARALLELISM": "parallel",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
    "OMP_NUM_THREADS": "16",
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"the key {KEY} is refused", "the key $AWS_SECRET_ACCESS_KEY is refused"),
        (f"?key={quote(KEY, safe='')}", "?key=$AWS_SECRET_ACCESS_KEY"),
        (f"{base64.b64encode(KEY.encode()).decode()}", "$AWS_SECRET_ACCESS_KEY=="),
        ("HF_TOKEN=hf_TOPSECRET", "HF_TOKEN=$HF_TOKEN"),
        ("no way to https://me:hunter2@tracker/api", "no way to $MLFLOW_TRACKING_URI/api"),
        ("login failed for hunter2", "login failed for $MLFLOW_TRACKING_URI"),
        ("cannot parse AASCBKcwggSjAgEAAoIBAQ", "cannot parse $GOOGLE_APPLICATION_CREDENTIALS_JSON"),
        ("signed with Zm9vYmFyYmF6==", "signed with $AZURE_STORAGE_CONNECTION_STRING"),
    ],
)
def test_values_of_secret_variables_are_hidden(text: str, shown: str) -> None:
    assert redaction.without_secrets(text, ENVIRONMENT) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no way to s3://user:pass@store:9000/b", "no way to s3://[hidden]@store:9000/b"),
        ("https://ghost-token@store/", "https://[hidden]@store/"),
        ("AKIAIOSFODNN7EXAMPLE is unknown", "[hidden] is unknown"),
        ("token hf_abcdefghijklmnopqrstuvwxyz0123 expired", "token [hidden] expired"),
        ("Authorization: Bearer abc.def", "Authorization: [hidden]"),
        ("{'Authorization': 'Basic bWU6aHVudGVyMg=='}", "{'Authorization': '[hidden]'}"),
        ("sent Bearer eyJhbGciOi.J9", "sent Bearer [hidden]"),
        ("AccountName=a;AccountKey=Zm9v;x", "AccountName=a;AccountKey=[hidden];x"),
        ("GET /b?X-Amz-Signature=af01&X-Amz-Date=1", "GET /b?X-Amz-Signature=[hidden]&X-Amz-Date=1"),
        ("GET /b?sv=1&sig=abc%3D", "GET /b?sv=1&sig=[hidden]"),
        ("aws_secret_access_key = abcdefgh", "aws_secret_access_key = [hidden]"),
        (PRIVATE_KEY, "-----BEGIN PRIVATE KEY-----[hidden]-----END PRIVATE KEY-----\n"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, shown: str) -> None:
    assert redaction.without_secrets(text, {}) == shown


@pytest.mark.parametrize(
    "text",
    [
        "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (with AWS_SESSION_TOKEN where they are temporary)",
        "hf://datasets/team/speech@0123456789abcdef0123456789abcdef01234567/train.parquet of commit 0123456789abcdef",
        "audio/user@host.wav: its label has 16 tokens, parallel to /var/run/token",
        "Basic normalization of https://huggingface.co/openai/whisper-base",
        "s3://bucket/team@work/model.safetensors",
    ],
)
def test_all_else_stays_as_it_is(text: str) -> None:
    assert redaction.without_secrets(text, ENVIRONMENT) == text


@pytest.mark.parametrize("part", ["a.", "a-b+", "eyJ-", "password ", "?sig=", "x://"])
def test_a_text_of_a_megabyte_costs_what_its_letters_do(part: str) -> None:
    # Whoever tries each of its parts as a start, up to the end, needs an hour for it.
    text = part * (1_000_000 // len(part))
    assert len(redaction.without_secrets(text, {})) <= len(text) + len("[hidden]")
