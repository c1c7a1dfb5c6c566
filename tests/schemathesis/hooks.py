"""What schemathesis cannot know: how a call is signed, and what of the descriptions is signing's own business.

The stack's address and the secrets come in the environment, from run.py.
"""

import base64
import hashlib
import hmac
import os
import time
import uuid

import requests
import schemathesis

HOST = os.environ["TRADEPOST_HOST"]
SECRET = base64.b64decode(os.environ["TRADEPOST_SECRET"].removeprefix("whsec_"))
TOKEN = os.environ.get("TRADEPOST_STATUS_TOKEN", "")


class Signed(requests.auth.AuthBase):
    """Signs the bytes that are sent, after the Standard Webhooks specification; a status is asked for with a token."""

    def __call__(self, request):
        # All parties of the stack are told apart by name.
        request.headers["Host"] = HOST
        if request.path_url.partition("?")[0] == "/v1/status":
            request.headers["Authorization"] = f"Bearer {TOKEN}"
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


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Every call is signed, so the headers of the signature are not made up; tests in Rust leave them out and change them."""
    kept = lambda parameters: [one for one in parameters if "Webhook" not in one.get("$ref", "")]
    for path in raw_schema["paths"].values():
        for operation in [path, *path.values()]:
            if isinstance(operation, dict) and "parameters" in operation:
                operation["parameters"] = kept(operation["parameters"])
