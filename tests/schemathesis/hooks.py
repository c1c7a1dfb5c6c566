"""What schemathesis cannot know: how a call is signed, and what of the descriptions is signing's own business.

The stack's address and the secrets come in the environment, from run.py.
"""

import base64
import hashlib
import hmac
import json
import os
import time
import uuid

import requests
import schemathesis

HOST = os.environ["TRADEPOST_HOST"]
SECRET = base64.b64decode(os.environ["TRADEPOST_SECRET"].removeprefix("whsec_"))
# Bearer tokens by path: a status and usage are read with one.
TOKENS = json.loads(os.environ.get("TRADEPOST_TOKENS", "{}"))
# Ids of the examples, and the ids of what there is.
EXISTING = json.loads(os.environ.get("TRADEPOST_EXISTING", "{}"))


class Signed(requests.auth.AuthBase):
    """Signs the bytes that are sent, after the Standard Webhooks specification; a status is asked for with a token."""

    def __call__(self, request):
        # All parties of the stack are told apart by name.
        request.headers["Host"] = HOST
        path = request.path_url.partition("?")[0]
        if path in TOKENS and request.method != "POST":
            request.headers["Authorization"] = f"Bearer {TOKENS[path]}"
            return request
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        name, seconds = f"msg_{uuid.uuid4()}", str(int(time.time()))
        signed = hmac.new(SECRET, f"{name}.{seconds}.".encode() + body, hashlib.sha256).digest()
        request.headers["webhook-id"] = name
        request.headers["webhook-timestamp"] = seconds
        request.headers["webhook-signature"] = "v1," + base64.b64encode(signed).decode()
        return request


schemathesis.auth.set_from_requests(Signed())


def named(value):
    """The same with the ids of what there is, where the descriptions' examples have made-up ones."""
    if isinstance(value, dict):
        return {name: named(inside) for name, inside in value.items()}
    return EXISTING.get(value, value) if isinstance(value, str) else value


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Every call is signed, so nothing of that is made up or left out; tests in Rust do that. A page token is only right if
    it was given out before."""
    raw_schema.pop("security", None)
    components = raw_schema["components"]
    components.pop("securitySchemes", None)
    # An event that is wrong refuses itself and not its call, so any event at all is a good call's.
    for path in raw_schema["paths"].values():
        body = path.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        events = body.get("schema", {}).get("properties", {}).get("events")
        if events:
            events["items"] = {"anyOf": [events["items"], {}]}
    for schema in components["schemas"].values():
        for part in schema.get("allOf", []):
            part.get("properties", {}).pop("page_token", None)
    for path in raw_schema["paths"].values():
        for operation in [path, *path.values()]:
            if isinstance(operation, dict):
                operation.pop("security", None)
                given = operation.get("parameters", [])
                operation["parameters"] = [one for one in given if "Webhook" not in one.get("$ref", "")]
                for content in operation.get("requestBody", {}).get("content", {}).values():
                    if "example" in content:
                        content["example"] = named(content["example"])
                        content["example"].pop("page_token", None)


@schemathesis.hook
def before_call(context, case, kwargs):
    """What no schema can say: a call about a person has the person's subject for its target; usage is somebody's."""
    if case.path == "/v1/usage" and case.method == "GET":
        # At least one of two: nothing says so of a query.
        query = case.query or {}
        if not {"subscription", "organization"} & set(query):
            case.query = {**query, "organization": EXISTING.get("org-1", "org-1")}
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("person"), dict):
        subject, target = body["person"].get("subject"), body.get("target")
        if all(isinstance(text, str) and 1 <= len(text) <= 255 for text in (subject, target)):
            body["target"] = subject
