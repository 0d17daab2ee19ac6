"""What the tests of pings share."""

import pytest

from sandbox import links


@pytest.fixture
def address_without_host(veth: tuple[str, str]) -> str:
    """An address of a network that is there, and nobody on it."""
    links.add_address(veth[0], "198.51.100.1/24")
    return "198.51.100.2"
