#!/usr/bin/env python3
"""Builds what is deployed: a zip for each Lambda function, the folder for Azure Functions, and the bill of materials.

    infra/package.py                            everything, into target/packages
    infra/package.py --architecture arm64       Lambda's functions for arm64 (Azure's stay x86_64)
    infra/package.py --function landing --into DIRECTORY     one function's files, as `sam build` asks for them

Linked by zig against glibc 2.34, which Lambda's Amazon Linux 2023 has, whatever this machine has. The same sources, toolchain
and policy give the same bytes. Needs Rust and Python 3; zig, cargo-zigbuild and cargo-cyclonedx are fetched into target/tools.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
TOOLS = ROOT / "target" / "tools"
LINKER = ["cargo-zigbuild==0.23.4", "ziglang==0.15.2"]
CYCLONEDX = "0.5.9"
GLIBC = (2, 34)
FUNCTIONS = ["landing", "notifications", "worker", "sweeper", "metering", "usage"]
AZURE = "tradepost"
TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}
MACHINES = {"x86_64": 0x3E, "arm64": 0xB7}
# Bytes of a zip. A larger one starts more slowly, and says that something came in that nobody wanted.
LARGEST = 4 * 1024 * 1024
# The earliest instant a zip can name: files have no other time, so that the same bytes come out every day.
EPOCH = (1980, 1, 1, 0, 0, 0)


class Problem(Exception):
    """What a person has to put right."""


def run(command, log, **more):
    """Runs a command; its output goes to a file, and the end of that to the terminal if it fails."""
    with open(log, "wb") as output:
        done = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False, **more)
    if done.returncode:
        end = Path(log).read_text(errors="replace").splitlines()[-30:]
        raise Problem("\n".join([*end, f"{' '.join(map(str, command[:3]))} … failed; the whole output is in {log}"]))


def say(line):
    print(line, file=sys.stderr, flush=True)


def linker(logs):
    """The environment's folder with cargo-zigbuild and zig."""
    home = TOOLS / "-".join(LINKER)
    if not (home / "bin" / "cargo-zigbuild").exists():
        say(f"fetching {', '.join(LINKER)}")
        venv.create(home, clear=True, with_pip=True)
        run([home / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", *LINKER], logs / "tools.log")
    return home


def standard_library(triple):
    """Fails in words if Rust's standard library for the target is not there."""
    found = subprocess.run(["rustc", "--print", "target-libdir", "--target", triple], capture_output=True, text=True, check=False)
    folder = Path(found.stdout.strip() or "/nowhere")
    if not any(folder.glob("libstd-*")):
        raise Problem(f"Rust's standard library for {triple} is not installed: rustup target add {triple}")


def build(architecture, package, binaries, logs):
    """Builds binaries for an architecture. Gives the folder they are in."""
    triple = TRIPLES[architecture]
    standard_library(triple)
    home = linker(logs)
    cargo = os.environ.get("CARGO_HOME") or Path.home() / ".cargo"
    environment = {
        **os.environ,
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "CARGO_ZIGBUILD_PYTHON_PATH": str(home / "bin" / "python"),
        "CARGO_TARGET_DIR": str(TARGET),
        # No folder of the machine that built it gets into a binary, nor into what a panic prints.
        "RUSTFLAGS": f"--remap-path-prefix={ROOT}=. --remap-path-prefix={cargo}=cargo",
        "SOURCE_DATE_EPOCH": "315532800",
        "AWS_LC_SYS_NO_JITTER_ENTROPY": "1",
    }
    named = [word for binary in binaries for word in ("--bin", binary)]
    version = ".".join(map(str, GLIBC))
    command = ["cargo", "zigbuild", "--release", "--locked", "--target", f"{triple}.{version}", "--package", package, *named]
    run(command, logs / f"{package}-{architecture}.log", env=environment)
    return TARGET / triple / "release"


def checked(binary, architecture):
    """What a binary needs of glibc, as text. Fails if it is for another machine, or needs a newer one than there is."""
    content = binary.read_bytes()
    if content[:5] != b"\x7fELF\x02" or int.from_bytes(content[18:20], "little") != MACHINES[architecture]:
        raise Problem(f"{binary} is no 64-bit ELF file for {architecture}")
    versions = {tuple(map(int, found.split(b"."))) for found in re.findall(rb"GLIBC_(\d+\.\d+)", content)}
    newest = max(versions, default=(0, 0))
    if newest > GLIBC:
        raise Problem(f"{binary} needs glibc {newest[0]}.{newest[1]}; Lambda has {GLIBC[0]}.{GLIBC[1]}")
    return ".".join(map(str, newest)) if versions else "none"


def files(binary, policy):
    """What is in a function's package: name, content, and whether it can be run."""
    yield "bootstrap", binary.read_bytes(), True
    yield "policy.toml", policy.read_bytes(), False
    for other in sorted((ROOT / "policies").glob("*.toml")):
        yield f"policies/{other.name}", other.read_bytes(), False


def laid_out(into, binary, policy):
    for name, content, runs in files(binary, policy):
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755 if runs else 0o644)


def zipped(path, binary, policy):
    """Writes a zip that depends on nothing but the files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content, runs in files(binary, policy):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system = 3
            entry.external_attr = (0o100755 if runs else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    if path.stat().st_size > LARGEST:
        raise Problem(f"{path} has {path.stat().st_size} bytes, more than {LARGEST}")


def materials(out, logs):
    """A CycloneDX bill of materials for each of the two packages of functions."""
    home = TOOLS / f"cargo-cyclonedx-{CYCLONEDX}"
    if not (home / "bin" / "cargo-cyclonedx").exists():
        say(f"building cargo-cyclonedx {CYCLONEDX}")
        version = ["--version", CYCLONEDX, "--locked", "--root", home, "--target-dir", TARGET / "tools"]
        run(["cargo", "install", "cargo-cyclonedx", *version], logs / "cyclonedx.log")
    made = []
    for package, name in [("functions/aws", "aws"), ("functions/azure", "azure")]:
        # It writes beside every manifest it reads, so it reads a copy of none but what is asked for.
        command = [home / "bin" / "cargo-cyclonedx", "cyclonedx", "--manifest-path", f"{package}/Cargo.toml", "--format", "json",
                   "--spec-version", "1.5", "--override-filename", "tradepost-materials", "--target", TRIPLES["x86_64"]]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800", "CARGO_NET_OFFLINE": "true"}
        try:
            run(command, logs / f"materials-{name}.log", env=environment)
            path = out / f"materials-{name}.cdx.json"
            shutil.copyfile(ROOT / package / "tradepost-materials.json", path)
            made.append(path)
        finally:
            for written in ROOT.glob("**/tradepost-materials.json"):
                if "target" not in written.relative_to(ROOT).parts:
                    written.unlink()
    return made


def table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        # Names to the left, numbers to the right.
        cells = [cell.rjust(width) if 0 < column < 4 else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


def size(path):
    return f"{path.stat().st_size / 1024 / 1024:.2f} MiB"


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def everything(architecture, policy, out, logs):
    for old in [out / "lambda", out / "azure"]:
        shutil.rmtree(old, ignore_errors=True)
    (out / "lambda").mkdir(parents=True)
    say(f"building {len(FUNCTIONS)} functions for Lambda, {architecture}")
    release = build(architecture, "tradepost-aws", FUNCTIONS, logs)
    rows = [("package", "size", "program", "glibc", "sha256")]
    for name in FUNCTIONS:
        binary, path = release / name, out / "lambda" / f"{name}.zip"
        glibc = checked(binary, architecture)
        zipped(path, binary, policy)
        rows.append((f"lambda/{name}.zip", size(path), size(binary), glibc, digest(path)))
    say("building the handler for Azure Functions, x86_64")
    handler = build("x86_64", "tradepost-azure", [AZURE], logs) / AZURE
    glibc = checked(handler, "x86_64")
    run([ROOT / "infra" / "azure" / "stage.sh", out / "azure", handler], logs / "stage.log", env={**os.environ, "POLICY": str(policy)})
    rows.append(("azure/", "", size(handler), glibc, digest(handler)))
    for path in materials(out, logs):
        rows.append((path.name, size(path), "", "", digest(path)))
    table(rows)
    print(f"in {out}, with {policy.name} as their policy")


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--architecture", choices=sorted(TRIPLES), default="x86_64", help="what Lambda's functions run on")
    words.add_argument("--policy", type=Path, default=ROOT / "policies" / "emqx.toml", help="the policy file to ship as policy.toml")
    words.add_argument("--out", type=Path, default=TARGET / "packages", help="where everything is put")
    words.add_argument("--function", choices=FUNCTIONS, help="only this function's files, not zipped")
    words.add_argument("--into", type=Path, help="where they are put")
    asked = words.parse_args()
    if bool(asked.function) != bool(asked.into):
        words.error("--function and --into go together")
    if not asked.policy.is_file():
        words.error(f"{asked.policy}: no such policy file")
    out = asked.out.resolve()
    logs = TARGET / "package-logs"
    logs.mkdir(parents=True, exist_ok=True)
    try:
        if asked.function:
            binary = build(asked.architecture, "tradepost-aws", [asked.function], logs) / asked.function
            checked(binary, asked.architecture)
            laid_out(asked.into, binary, asked.policy)
        else:
            everything(asked.architecture, asked.policy.resolve(), out, logs)
    except Problem as problem:
        sys.exit(f"package.py: {problem}")


if __name__ == "__main__":
    main()
