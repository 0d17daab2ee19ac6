import os

import pytest

from aioprocket._system.descriptor import Descriptor, borrowed
from aioprocket.errors import ClosedError


@pytest.fixture
def descriptor() -> Descriptor:
    return Descriptor(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))


def test_close_closes_once(descriptor: Descriptor) -> None:
    fd = descriptor.fileno()
    descriptor.close()
    reused = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    descriptor.close()

    assert reused == fd
    os.close(reused)
    assert descriptor.closed
    assert descriptor.fileno() == -1


def test_detached_descriptor_is_the_callers(descriptor: Descriptor) -> None:
    fd = descriptor.detach()

    assert descriptor.closed
    os.close(fd)
    with pytest.raises(ClosedError):
        descriptor.detach()


def drop() -> int:
    return Descriptor(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)).fileno()


def test_dropped_descriptor_is_closed_with_a_warning() -> None:
    with pytest.warns(ResourceWarning, match="unclosed <Descriptor"):
        fd = drop()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_negative_number_is_no_descriptor() -> None:
    with pytest.raises(ValueError, match="no file descriptor"):
        Descriptor(-1)


def test_borrowed_file_is_no_socket(descriptor: Descriptor) -> None:
    with pytest.raises(OSError, match="non-socket"), borrowed(descriptor.fileno()):
        pass

    descriptor.close()
