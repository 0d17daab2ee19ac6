from collections.abc import Iterator

import pytest

from lab.machine import Machine, new_machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine to install on, which is gone afterwards. Needs realroot."""
    with new_machine() as made:
        yield made
