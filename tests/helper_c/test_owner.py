"""Whose a subordinate account is, by the text of /etc/subuid: subuid(5)."""

import random
import subprocess
from pathlib import Path

import pytest

from helper_c.builds import HELPER, SANITIZERS, compile_c
from lab.must import require

TEXT = b"""\
alice:100000:65536
# a comment, which subuid(5) does not know
1001:165536:65536
bob:231072:1
carol:4294901760:65536
:300000:0
"""


@pytest.fixture(scope="module", params=["gcc", "clang"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = [Path(__file__).with_name("owner_main.c"), HELPER / "owner.c"]
    out = tmp_path_factory.mktemp("owner") / request.param
    return compile_c(require(request.param), files, out, *SANITIZERS)


def owners(program: Path, text: bytes, *uids: int) -> list[int]:
    done = subprocess.run([program, *map(str, uids)], input=text, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return list(map(int, done.stdout.split()))


@pytest.mark.parametrize(
    ("uid", "owner"),
    [
        (0, 0),
        (1000, 1000),
        (99999, 99999),
        (100000, 100000),
        (165535, 100000),
        (165536, 165536),
        (231071, 165536),
        (231072, 231072),
        (231073, 231073),
        (300000, 300000),
        (4294967294, 4294901760),
    ],
)
def test_account_is_of_the_range_that_it_is_in(program: Path, uid: int, owner: int) -> None:
    assert owners(program, TEXT, uid) == [owner]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n\n",
        b"alice",
        b"alice:100000:65536",  # no end: it may be half of a number
        b"alice::65536\n",
        b"alice:100000:\n",
        b"alice:100000\n:65536\n",
        b"alice:x100000:65536\n",
        b"alice:100000x:65536\n",
        b"alice:-1:65536\n",
        b"alice:4294967296:65536\n",
        b"alice:0:99999999999999999999999999\n",
        b"alice: 100000:65536\n",
        b"\0:\0:\0\n",
    ],
    ids=repr,
)
def test_line_that_is_none_says_nothing(program: Path, text: bytes) -> None:
    assert owners(program, text, 0, 100001) == [0, 100001]


def test_line_behind_one_that_is_none_counts(program: Path) -> None:
    assert owners(program, b"x:y:z\n:\nalice:100000:65536\n", 100001) == [100000]


def test_any_bytes_do_no_harm(program: Path) -> None:
    chance = random.Random(7)
    for _ in range(40):
        text = bytes(chance.choices(b"0123456789:::\n\nx\0\xff", k=chance.randrange(400)))
        assert len(owners(program, text, *range(0, 400, 7))) == 58
