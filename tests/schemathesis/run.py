"""Runs schemathesis against the local stack: `run.py api` or `run.py control-plane`, after tradepost-local is built.

A stack of its own on a free port of 127.0.0.1, its state in a folder that is thrown away. There the secrets are read, so
that none is written down. Before the API is asked, one purchase is linked and one has ended, as people would do it, with some usage of both.
"""

import base64
import hashlib
import hmac
import html
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = "25"
SEED = "20261121"


class Browser:
    """A person's browser, as far as links and forms go; every `.localhost` name is this machine."""

    def __init__(self, port):
        self.port, self.jars, self.page, self.at = port, {}, "", ""

    def send(self, method, url, data=None):
        for _ in range(12):
            parts = urllib.parse.urlsplit(url)
            jar = self.jars.setdefault(parts.hostname, {})
            path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
            headers = {"host": parts.netloc, "cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}
            answer = requests.request(
                method, f"http://127.0.0.1:{self.port}{path}", data=data, headers=headers, allow_redirects=False, timeout=30
            )
            for name, value in answer.cookies.items():
                jar[name] = value
            if "location" not in answer.headers:
                self.page, self.at = answer.text, url
                if answer.status_code >= 400:
                    raise SystemExit(f"{method} {url}: {answer.status_code}\n{answer.text[:2000]}")
                return
            url, method, data = urllib.parse.urljoin(url, answer.headers["location"]), "GET", None
        raise SystemExit(f"too many redirects: {url}")

    def submit(self, form, **fields):
        """Sends the form of that id with what stands in it."""
        found = re.search(rf'<form[^>]*id="{form}"[^>]*>(.*?)</form>', self.page, re.S)
        if not found:
            raise SystemExit(f"there is no form {form} at {self.at}\n{self.page[:4000]}")
        action = re.search(r'action="([^"]*)"', found.group(0).partition(">")[0])
        standing = {}
        for field in re.findall(r"<input[^>]*>", found.group(1)):
            name, value = re.search(r'name="([^"]*)"', field), re.search(r'value="([^"]*)"', field)
            if name:
                standing[name.group(1)] = html.unescape(value.group(1)) if value else ""
        to = urllib.parse.urljoin(self.at, html.unescape(action.group(1)) if action else "")
        self.send("POST", to, {**standing, **fields})


def bench(port, party, call, body):
    """The test bench of a simulated marketplace."""
    headers = {"host": f"{party}.localhost:{port}"}
    answer = requests.post(f"http://127.0.0.1:{port}/sim/{call}", json=body, headers=headers, timeout=30)
    answer.raise_for_status()
    return answer.json()


def push(port, seconds):
    """Pushes the clock; what is due by then has happened."""
    headers = {"accept": "application/json"}
    requests.post(f"http://127.0.0.1:{port}/clock", data={"seconds": seconds}, headers=headers, timeout=60).raise_for_status()


def link(port, person, account):
    """Buys, lands, signs in and links."""
    listings = (ROOT / "policies/emqx.toml").read_text().split("[[listing]]")[1:]
    product = next(re.search(r'^code = "(.*)"', one, re.M) for one in listings if 'marketplace = "aws"' in one).group(1)
    bought = bench(port, "aws", "accept", {"product": product, "account": account})
    browser = Browser(port)
    landing = f"http://tradepost.localhost:{port}/aws/landing"
    browser.send("POST", landing, {"x-amzn-marketplace-token": bought["token"]})
    if 'id="sign-in-demo"' in browser.page:
        browser.send("GET", f"http://tradepost.localhost:{port}/sign-in/demo")
    browser.submit("sign-in", email=f"{person}@demo.example", password="demo")
    browser.submit("link-form", contact=f"{person}@example.com")
    return bought


def signed(secret, body):
    name, seconds = f"msg_{uuid.uuid4()}", str(int(time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    made = hmac.new(key, f"{name}.{seconds}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json", "webhook-id": name, "webhook-timestamp": seconds,
        "webhook-signature": "v1," + base64.b64encode(made).decode(),
    }


def ask(port, secret, path, body):
    body = json.dumps(body).encode()
    headers = {"host": f"tradepost.localhost:{port}", **signed(secret, body)}
    answer = requests.post(f"http://127.0.0.1:{port}{path}", data=body, headers=headers, timeout=30)
    answer.raise_for_status()
    return answer.json()


def wait_for(what, holds):
    for _ in range(240):
        found = holds()
        if found:
            return found
        time.sleep(0.25)
    raise SystemExit(f"{what}: not within a minute")


def schemathesis(folder, contract, base, environment):
    command = [
        pathlib.Path(sys.executable).with_name("schemathesis"), "--config-file", ROOT / "tests/schemathesis/schemathesis.toml",
        "run", ROOT / contract, "--url", base, "--max-examples", EXAMPLES, "--seed", SEED, "--no-color", "--warnings", "off",
    ]
    hooks = {"SCHEMATHESIS_HOOKS": str(ROOT / "tests/schemathesis/hooks.py")}
    # In the folder that is thrown away: it keeps what it found.
    return subprocess.run(command, cwd=folder, env={**os.environ, **environment, **hooks}, check=False).returncode


def main(which):
    with tempfile.TemporaryDirectory() as data:
        binary = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/tradepost-local"
        stack = subprocess.Popen(
            [binary, "--port", "0", "--data", data, "--json"], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        try:
            start = json.loads(stack.stdout.readline())["start"]
            port = urllib.parse.urlsplit(start).port
            state = pathlib.Path(data) / "state.json"
            secrets = wait_for("the stack keeps its state", lambda: state.exists() and json.loads(state.read_text()))
            if which == "control-plane":
                there = {
                    "https://id.example.com": f"http://vendor.localhost:{port}", "person-7": "person-clean",
                    "org-1": "org-clean", "dep-4": "dep-clean-orders-prod",
                }
                return schemathesis(
                    data, "docs/control-plane.openapi.yaml", f"http://127.0.0.1:{port}/control-plane",
                    {
                        "TRADEPOST_HOST": f"vendor.localhost:{port}", "TRADEPOST_SECRET": secrets["control_plane"],
                        "TRADEPOST_EXISTING": json.dumps(there),
                    },
                )
            key = secrets["vendor_api"]
            told = lambda organization: ask(
                port, key, "/v1/billing", {"operation": "get_billing", "organization": organization}
            )
            ended = link(port, "second", "210987654321")
            link(port, "clean", "210987654322")
            # Signatures are made by this machine's clock, so the stack's may be ahead of it by less than five minutes.
            push(port, 120)
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
            used = lambda organization: {
                "key": f"k-{organization}", "organization": organization, "dimension": "traffic_gb", "quantity": "2.5", "at": at,
                "tags": {"team": "search"},
            }
            events = [used("org-clean"), used("org-second")]
            counted = ask(port, key, "/v1/usage", {"operation": "report_usage", "events": events})
            if counted["accepted"] != 2:
                raise SystemExit(f"usage is refused: {counted}")
            bench(port, "aws", "cancel", {"agreement": ended["agreement"]})
            push(port, 60)
            token = ask(
                port, key, "/v1/status-token", {"operation": "create_status_token", "organization": "org-clean"}
            )["token"]
            usage_token = ask(port, key, "/v1/usage-token", {"operation": "create_usage_token"})["token"]
            tokens = {"/v1/status": token, "/v1/usage": usage_token}
            wait_for("a link", lambda: told("org-clean")["state"] == "linked")
            over = wait_for("an end", lambda: (now := told("org-second"))["state"] == "unlinked" and now)
            there = {"org-1": "org-second", "azure|5d1f3a0e-0000-0000-0000-000000000001": over["link"]["subscription"]}
            events = ask(port, key, "/v1/events", {"operation": "list_events", "organization": "org-second"})["events"]
            there["evt_00000000000000000000000000000000"] = events[0]["id"]
            return schemathesis(
                data, "docs/api.openapi.yaml", f"http://127.0.0.1:{port}",
                {
                    "TRADEPOST_HOST": f"tradepost.localhost:{port}", "TRADEPOST_SECRET": key,
                    "TRADEPOST_TOKENS": json.dumps(tokens), "TRADEPOST_EXISTING": json.dumps(there),
                },
            )
        finally:
            stack.terminate()
            stack.wait(20)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
