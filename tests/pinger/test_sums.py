"""Sums over round trips, as Python's own module has them."""

import statistics
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioprocket.pinger.sums import deviation, median

values = st.lists(st.floats(0, 1e6), min_size=1, max_size=50)


@given(values)
def test_median_and_deviation_are_those_of_the_standard_library(rtts: list[float]) -> None:
    assert median(rtts) == statistics.median(rtts)
    assert deviation(rtts) == pytest.approx(statistics.pstdev(rtts), rel=1e-6, abs=1e-6)


def test_first_use_of_the_pinger_does_not_load_what_takes_long_and_is_not_needed() -> None:
    program = "import aioprocket, sys; aioprocket.Pinger; print('statistics' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)

    assert done.stdout == b"False\n"
