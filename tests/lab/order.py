"""The order in which files of tests are handed out to processes."""

from collections import Counter
from pathlib import Path
from typing import Final

import pytest

__all__ = ("LONGEST", "longest_first")

TESTS = Path(__file__).resolve().parents[1]
# More than ten seconds each; the longest first.
LONGEST: Final = (
    "cli/test_helper.py",
    "native/test_sanitizers.py",
    "hostile/test_sandbox.py",
    "hostile/test_messages.py",
    "channels/test_moderation.py",
    "test_examples.py",
    "test_example_vpn.py",
    "helper_c/test_helper_source.py",
    "pinger/test_monitor.py",
    "hostile/test_peers.py",
    "cli/test_ping.py",
    "test_closing.py",
    "channels/test_receiving.py",
    "cli/test_app.py",
    "hostile/test_policy.py",
    "channels/test_ring.py",
    "cli/test_trace.py",
    "pinger/test_link_truth.py",
    "native/test_ring_memory.py",
    "pinger/test_link.py",
    "testing/test_responder.py",
    "pinger/test_loss.py",
    "cli/test_sniff_files.py",
    "native/test_memory.py",
    "hostile/test_build.py",
    "cli/test_sniff.py",
    "hostile/test_callers.py",
    "cli/test_doctor.py",
    "cli/test_sweep.py",
    "channels/test_spill_bounds.py",
    "channels/test_storms.py",
    "channels/test_spill.py",
    "pinger/test_limited.py",
)


def longest_first(items: list[pytest.Item]) -> None:
    """Sort files by how long they take, so that none begins where all others are about to end.

    Those of which that is not known go by their number of tests, as pytest-xdist has it.
    """
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (places.get(item.path, len(places)), -tests[item.path]))
