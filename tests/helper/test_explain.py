import errno

import pytest

from aioprocket.errors import NotPermittedError
from aioprocket.helper.explain import open_failed
from aioprocket.spec import TunSpec


@pytest.mark.parametrize(
    ("mtu", "hint"),
    [
        (1279, "take an mtu of 1280 or more; in a namespace of your own, any"),
        (1280, "the device has lost its IPv6: sudo ip link set dev aio9 mtu 1280"),
        (None, ""),
    ],
)
def test_an_mtu_that_is_refused_comes_with_a_way(mtu: int | None, hint: str) -> None:
    error = open_failed(TunSpec(name="aio9", mtu=mtu), "address", errno.EPERM, by="the helper")

    assert isinstance(error, NotPermittedError)
    assert error.hint == hint
