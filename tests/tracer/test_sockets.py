"""Reading what has come."""

import socket

from aioprocket.tracer.sockets import read_datagrams


def test_a_flood_does_not_keep_who_reads_for_ever() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs,
    ):
        ours.bind(("127.0.0.1", 0))
        theirs.connect(ours.getsockname())
        theirs.send(b"first")
        count = 0
        for count, datagram in enumerate(read_datagrams(ours), 1):
            assert datagram.data == b"first" or count > 1
            if count < 10_000:
                theirs.send(b"and another for each that is read")

        assert 1 < count < 10_000
