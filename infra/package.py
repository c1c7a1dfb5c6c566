#!/usr/bin/env python3
"""Builds what is deployed: a zip for each Lambda function, the folder for Azure Functions, and the list of what is inside.

    infra/package.py                                    everything, for x86_64, with policies/emqx.toml, an example
    infra/package.py --policy policies/mine.toml        another policy as policy.toml
    infra/package.py --architecture arm64 --only aws    Lambda on arm64; needs `rustup target add aarch64-unknown-linux-gnu`

Leaves target/packages. The binaries are linked by zig against the C library of Lambda's Amazon Linux 2023, whatever this
machine has. Zips hold no times and no paths of this machine. Zig and zopfli come from PyPI, into target/tools.
"""

import argparse
import concurrent.futures
import hashlib
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "policies/emqx.toml"
OUT = ROOT / "target" / "packages"
TOOLS = ROOT / "target" / "tools"
DEFLATED = TOOLS / "deflated"
TOOLKIT = ("cargo-zigbuild==0.23.4", "ziglang==0.15.2", "zopfli==0.4.3")
SBOM = ("cargo-cyclonedx", "0.5.9")
# In Cargo.toml.
PROFILE = "shipped"
TARGETS = {"x86_64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}
# Amazon Linux 2023 has 2.34; Azure Functions' Linux has a newer one.
GLIBC = (2, 34)
FUNCTIONS = ("landing", "notifications", "worker", "sweeper", "metering", "usage")
# Bytes of a zip. Lambda refuses more than 50 MB; a start is slower long before, so what is larger than we want is said.
WANTED, MOST = 4_000_000, 50_000_000
# The earliest a zip can say: 1980-01-01.
NEVER = 0x21
# What any unpacker reads, packed as tightly as it can be; what is packed is kept, since that takes minutes.
DEFLATE = "import sys, zopfli.zlib; sys.stdout.buffer.write(zopfli.zlib.compress(sys.stdin.buffer.read(), numiterations=5, blocksplittingmax=0)[2:-4])"

# What of that this run needs.
USED = set()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", type=pathlib.Path, default=EXAMPLE, help="what is shipped as policy.toml")
    parser.add_argument("--architecture", choices=TARGETS, default="x86_64", help="what the Lambda functions run on")
    parser.add_argument("--only", choices=("aws", "azure"), help="one cloud")
    parser.add_argument("--no-sbom", action="store_true", help="without the list of what is inside")
    options = parser.parse_args()
    if not options.policy.is_file():
        sys.exit(f"{options.policy}: no such policy file")
    if options.architecture != "x86_64" and options.only != "aws":
        sys.exit("Azure Functions runs custom handlers on x86_64 only: add --only aws")
    target = TARGETS[options.architecture]
    if not installed(target):
        sys.exit(f"Rust's standard library for {target} is not installed: rustup target add {target}")

    clouds = [options.only] if options.only else ["aws", "azure"]
    built = build(target, clouds)
    names = (FUNCTIONS if "aws" in clouds else ()) + (("tradepost",) if "azure" in clouds else ())
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda name: deflated((built / name).read_bytes()), names))
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    rows = []
    if "aws" in clouds:
        rows += [lambda_zip(built / name, name, options.policy) for name in FUNCTIONS]
    if "azure" in clouds:
        rows.append(azure_folder(built / "tradepost", options.policy))
    for left in set(DEFLATED.iterdir()) - USED:
        left.unlink()
    if not options.no_sbom:
        sbom(target, clouds)
    show(rows)
    if options.policy == EXAMPLE:
        print("with the example policy of EMQX, which knows none of your products: --policy policies/yours.toml takes yours")
    large = [row[0] for row in rows if row[0] in FUNCTIONS and row[2] > WANTED]
    if large:
        print(f"larger than the {WANTED / 1e6:.0f} MB that we want of a Lambda function: {', '.join(large)}")
    refused = [row[0] for row in rows if row[2] > MOST]
    if refused:
        sys.exit(f"larger than Lambda takes, {MOST / 1e6:.0f} MB: {', '.join(refused)}")


def run(*command, **more):
    done = subprocess.run(command, **more)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed")
    return done


def installed(target):
    said = subprocess.run(["rustc", "--print", "target-libdir", "--target", target], capture_output=True, text=True)
    folder = pathlib.Path(said.stdout.strip())
    return said.returncode == 0 and any(folder.glob("libstd-*"))


def toolkit():
    """A Python environment with zig, what lets cargo use it, and what packs."""
    folder = TOOLS / "packaging"
    wanted, mark = "\n".join(TOOLKIT), folder / "installed"
    if not mark.is_file() or mark.read_text() != wanted:
        run(sys.executable, "-m", "venv", "--clear", folder)
        run(folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *TOOLKIT)
        mark.write_text(wanted)
    return folder / "bin"


def build(target, clouds):
    """The folder with the binaries."""
    tools = toolkit()
    home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    # Longest first: where the source and the crates lie is nobody's business, and differs from machine to machine.
    flags = [f"--remap-path-prefix={home}=/cargo", f"--remap-path-prefix={ROOT}=/tradepost"]
    environment = os.environ | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags),
        "CFLAGS": f"-ffile-prefix-map={home}=/cargo -ffile-prefix-map={ROOT}=/tradepost",
        "SOURCE_DATE_EPOCH": "315532800",
        # Else aws-lc gathers jitter from the processor at every start, for up to a second.
        "AWS_LC_SYS_NO_JITTER_ENTROPY": "1",
        "CARGO_TARGET_DIR": str(ROOT / "target" / "packaging"),
    }
    version = ".".join(map(str, GLIBC))
    # One at a time: together, what one cloud's libraries want of those they share would be in the other's binaries too.
    for cloud in clouds:
        asked = ("--profile", PROFILE, "--locked", "--bins", "--target", f"{target}.{version}", "--package", f"tradepost-{cloud}")
        run("cargo", "zigbuild", *asked, cwd=ROOT, env=environment)
    return ROOT / "target" / "packaging" / target / PROFILE


def glibc(binary):
    """The newest version of the C library that any symbol of a binary asks for."""
    found = {tuple(map(int, match)) for match in re.findall(rb"GLIBC_(\d+)\.(\d+)", binary.read_bytes())}
    newest = max(found, default=(0, 0))
    if newest > GLIBC:
        sys.exit(f"{binary.name} asks for glibc {newest[0]}.{newest[1]}; Lambda has {GLIBC[0]}.{GLIBC[1]}")
    return f"{newest[0]}.{newest[1]}" if found else "none"


def lambda_zip(binary, name, policy):
    """What a function is deployed as: `bootstrap`, the policy, and the policies that can be chosen by name."""
    path = OUT / "aws" / f"{name}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [("bootstrap", binary, 0o755), ("policy.toml", policy, 0o644)]
    files += [(f"policies/{file.name}", file, 0o644) for file in sorted((ROOT / "policies").glob("*.toml"))]
    pack(path, files)
    return name, binary.stat().st_size, path.stat().st_size, glibc(binary), path


def deflated(content):
    """A file's raw deflate stream."""
    kept = DEFLATED / hashlib.sha256(content).hexdigest()
    USED.add(kept)
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        done = run(toolkit() / "python", "-c", DEFLATE, input=content, stdout=subprocess.PIPE)
        part = kept.with_suffix(".part")
        part.write_bytes(done.stdout)
        part.rename(kept)
    return kept.read_bytes()


def pack(path, files):
    """A zip of files, given as the name inside, the file, and its mode. It holds nothing that differs from run to run."""
    listing = b""
    with path.open("wb") as archive:
        for name, file, mode in files:
            content, inside = file.read_bytes(), name.encode("ascii")
            packed = deflated(content)
            # Method 8 is deflate, which needs version 2.0 to be unpacked.
            entry = struct.pack("<5H3L2H", 20, 0, 8, 0, NEVER, zlib.crc32(content), len(packed), len(content), len(inside), 0)
            # Made on Unix, so that the mode counts.
            made, mode = 3 << 8 | 20, (0o100000 | mode) << 16
            listing += struct.pack("<LH", 0x02014B50, made) + entry + struct.pack("<3H2L", 0, 0, 0, mode, archive.tell()) + inside
            archive.write(struct.pack("<L", 0x04034B50) + entry + inside + packed)
        start, number = archive.tell(), len(files)
        archive.write(listing + struct.pack("<L4H2LH", 0x06054B50, 0, 0, number, number, len(listing), start, 0))
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None or archive.namelist() != [name for name, _, _ in files]:
            sys.exit(f"{path}: cannot be unpacked as it was packed")


def azure_folder(binary, policy):
    folder = OUT / "azure"
    run(ROOT / "infra/azure/stage.sh", folder, binary, env=os.environ | {"POLICY": str(policy.resolve())}, stdout=subprocess.DEVNULL)
    path = OUT / "azure.zip"
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    pack(path, [(str(file.relative_to(folder)), file, file.stat().st_mode & 0o777) for file in files])
    return "azure", binary.stat().st_size, path.stat().st_size, glibc(binary), path


def sbom(target, clouds):
    """What each cloud's binaries are made of, as CycloneDX."""
    name, version = SBOM
    tool = TOOLS / f"{name}-{version}"
    if not (tool / "bin" / name).is_file():
        run("cargo", "install", "--quiet", "--locked", "--root", tool, f"{name}@{version}")
    for cloud in clouds:
        folder = ROOT / "functions" / cloud
        described = folder / "tradepost-sbom.json"
        command = [tool / "bin" / name, "cyclonedx", "--format", "json", "--target", target, "--no-build-deps"]
        command += ["--manifest-path", folder / "Cargo.toml", "--override-filename", described.stem]
        try:
            # It writes beside the manifest of every crate of the workspace; only this one is wanted.
            run(*command, cwd=ROOT, env=os.environ | {"SOURCE_DATE_EPOCH": "315532800"}, stdout=subprocess.DEVNULL)
            shutil.move(described, OUT / f"{cloud}.cdx.json")
        finally:
            for left in ROOT.glob(f"*/**/{described.name}"):
                if "target" not in left.parts:
                    left.unlink()


def show(rows):
    print(f"\n{'package':<15}{'binary MB':>10}{'zip MB':>9}{'glibc':>8}  sha256")
    for name, binary, packed, needs, path in rows:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        print(f"{name:<15}{binary / 1e6:>10.2f}{packed / 1e6:>9.2f}{needs:>8}  {digest}")
    print(f"\nin {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
