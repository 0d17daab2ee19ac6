"""Hostile bytes for everything that reads bytes: ``make fuzz``.

The helper's decoder and its policy run under libFuzzer with the sanitizers, from the golden
messages and from ``corpus/`` on. The parsers in Python get damaged golden bytes, and may raise
`WireError` and nothing else; the dissector raises nothing at all; that of assembly gets damaged
text, and may raise `FilterError`.
"""

import argparse
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import golden
from aioprocket import dissect
from aioprocket.bpf import assemble
from aioprocket.errors import FilterError, WireError
from aioprocket.wire import arp, ethernet, icmp, ip, reply, request, udp
from fuzz import captures
from golden import filters

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]

# By name of the target in C, the length of its longest input.
TARGETS = {"request": 33000, "policy": 66000}
SANITIZED = ("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")
COVERAGE = ("-fsanitize=fuzzer", "-fprofile-instr-generate", "-fcoverage-mapping")
COUNTED = ("lines", "branches")
PURE = ("request.c", "policy.c", "policy_parse.c", "policy_words.c", "span.c", "confine.c")

Parser = Callable[[bytes], object]


def summarize(data: bytes) -> None:
    for linktype in dissect.LINKTYPES:
        try:
            dissect.summarize(data, linktype)
        except WireError as error:
            raise AssertionError(f"linktype {linktype}") from error


def assemble_damaged(text: bytes) -> object:
    """Every byte is some character."""
    return assemble(text.decode("latin-1"))


PARSERS: dict[str, list[Parser]] = {
    "request": [request.decode_request],
    "reply": [reply.decode_reply],
    "packets": [
        arp.ArpPacket.parse,
        ethernet.EthernetHeader.parse,
        icmp.Echo.parse,
        icmp.IcmpError.parse,
        ip.IPv4Header.parse,
        ip.IPv6Header.parse,
        udp.UdpHeader.parse,
        summarize,
    ],
    "dissect": [summarize],
    "assembly": [assemble_damaged],
}


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=int, default=60)
    seconds = options.parse_args().seconds
    status = 0
    for target in TARGETS:
        with tempfile.TemporaryDirectory(prefix="aioprocket-fuzz-") as folder:
            status |= fuzz_helper(target, Path(folder), seconds)
    fuzz_parsers(seconds / 4)
    return status | fuzz_captures(seconds)


def fuzz_helper(target: str, folder: Path, seconds: int) -> int:
    program = folder / target
    if not build(target, program):
        print(f"The helper's {target} was not fuzzed: that needs clang with libFuzzer.")
        demanded = os.environ.get("AIOPROCKET_MUST_TEST", "").split(",")
        return 1 if {"all", "clang"} & set(demanded) else 0
    corpus = folder / "corpus"
    corpus.mkdir()
    for name, data in seeds(target):
        (corpus / name).write_bytes(data)
    limits = [f"-max_total_time={seconds}", f"-max_len={TARGETS[target]}"]
    fuzzed = subprocess.run(
        [program, *limits, corpus], cwd=folder, stderr=subprocess.PIPE, text=True, check=False
    )
    if fuzzed.returncode:
        print(fuzzed.stderr)  # ends with the input, in base64
    else:
        print(f"the helper's {target}:", fuzzed.stderr.splitlines()[-1])
        print_coverage(target, folder, corpus)
    return fuzzed.returncode


def print_coverage(target: str, folder: Path, corpus: Path) -> None:
    """What of the helper's files the corpus reaches, as it has become."""
    tools = [llvm_tool("llvm-profdata"), llvm_tool("llvm-cov")]
    program, raw, profile = (folder / name for name in ("covered", "raw", "profile"))
    if None in tools or not build(target, program, COVERAGE):
        print("  coverage: needs llvm-cov")
        return
    environment = os.environ | {"LLVM_PROFILE_FILE": str(raw)}
    quiet: dict[str, Any] = {"check": True, "stderr": subprocess.DEVNULL}
    subprocess.run([program, "-runs=0", corpus], cwd=folder, env=environment, **quiet)
    subprocess.run([str(tools[0]), "merge", raw, "-o", profile], **quiet)
    command = [str(tools[1]), "export", str(program)]
    command += [f"-instr-profile={profile}", "-summary-only"]
    told = subprocess.run(command, stdout=subprocess.PIPE, **quiet).stdout
    for file in json.loads(told)["data"][0]["files"]:
        name, summary = Path(file["filename"]).name, file["summary"]
        if "helper" in Path(file["filename"]).parts:
            share = [f"{summary[what]['percent']:.1f} % of {what}" for what in COUNTED]
            print(f"  coverage of {name}:", ", ".join(share))


def llvm_tool(name: str) -> str | None:
    """A tool of the same version as clang, which Debian has in a folder of its own."""
    clang = shutil.which("clang")
    beside = Path(clang).resolve().with_name(name) if clang else Path(name)
    return str(beside) if beside.exists() else shutil.which(name)


def seeds(target: str) -> Iterator[tuple[str, bytes]]:
    """What it begins with: golden messages, or the files of its corpus."""
    if target == "request":
        yield from ((message.name, message.data) for message in goldens("request"))
    for path in sorted((HERE / "corpus" / target).glob("*")):
        yield path.name, path.read_bytes()


def build(target: str, program: Path, options: Sequence[str] = SANITIZED) -> bool:
    """Whether clang is there, and has libFuzzer."""
    clang = shutil.which("clang")
    if clang is None:
        return False
    sources = [HERE / f"{target}.c", *(PROJECT / "helper" / name for name in PURE)]
    command = [clang, "-std=c11", "-D_GNU_SOURCE", "-g", "-O1", f"-I{PROJECT / 'helper'}"]
    command += [*options, *map(str, sources), "-o", str(program)]
    return subprocess.run(command, check=False).returncode == 0


def goldens(kind: str) -> list[golden.Golden]:
    return golden.good(kind) + golden.faulty(kind)


def seeds_of(kind: str) -> list[bytes]:
    if kind == "assembly":
        return [program.text.encode() for program in filters.programs()]
    return [message.data for message in goldens(kind)]


def damaged(seeds: list[bytes], choice: random.Random) -> Iterator[bytes]:
    while True:
        data = bytearray(choice.choice(seeds))
        for _ in range(choice.randrange(4)):
            if data:
                data[choice.randrange(len(data))] = choice.choice((0, 1, 0x7F, 0xFF, 0x45))
        yield bytes(data[: choice.choice((len(data), choice.randrange(len(data) + 1)))])


def fuzz_parsers(seconds: float) -> None:
    seed = int.from_bytes(os.urandom(4))
    print(f"parsers in Python, random seed {seed}:")
    for kind, parsers in PARSERS.items():
        inputs = damaged(seeds_of(kind), random.Random(seed))
        until = time.monotonic() + seconds / len(PARSERS)
        tried = 0
        while time.monotonic() < until:
            data = next(inputs)
            for parse in parsers:
                try:
                    parse(data)
                except (WireError, FilterError):
                    pass
                except BaseException:
                    print(f"  {kind}: {parse.__qualname__} on {data.hex()}")
                    raise
            tried += 1
        print(f"  {kind}: {tried:,} damaged inputs")


def fuzz_captures(seconds: float) -> int:
    """By atheris, which follows what a file reaches; without it by damage alone."""
    if importlib.util.find_spec("atheris") is None:
        print("capture files, damaged only: atheris is not installed")
        inputs = damaged(captures.seeds(), random.Random())
        until = time.monotonic() + seconds / 4
        while time.monotonic() < until:
            captures.check(next(inputs))
        return 0
    with tempfile.TemporaryDirectory(prefix="aioprocket-fuzz-") as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, data in enumerate(captures.seeds()):
            (corpus / str(number)).write_bytes(data)
        limits = [f"-max_total_time={max(1, int(seconds / 4))}", "-max_len=4096", "-timeout=20"]
        fuzzed = subprocess.run(
            [sys.executable, HERE / "captures.py", corpus, *limits],
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    said = fuzzed.stderr.splitlines()
    print("capture files:", "\n".join(said[-40:] if fuzzed.returncode else said[-1:]))
    return int(fuzzed.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
