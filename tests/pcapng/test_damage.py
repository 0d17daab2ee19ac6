"""Damaged capture files: packets read in C are those that the codecs in Python find."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.captures import check, seeds

SEEDS = seeds()
edits = st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=4)


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_seed_is_read_the_same_by_both_ways(seed: int) -> None:
    check(SEEDS[seed])


@given(st.sampled_from(SEEDS), edits, st.integers(0, 4095))
def test_damaged_file_is_read_the_same_by_both_ways(
    seed: bytes, edits: list[tuple[int, int]], end: int
) -> None:
    data = bytearray(seed)
    for at, byte in edits:
        if at < len(data):
            data[at] = byte
    check(bytes(data))
    check(bytes(data[:end]))


@given(st.lists(st.sampled_from(SEEDS), max_size=3))
def test_files_one_after_the_other_are_read_the_same_by_both_ways(files: list[bytes]) -> None:
    check(b"".join(files))
