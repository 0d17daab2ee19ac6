"""The state machine of a watched path alone, its clock an argument."""

import ipaddress
import statistics

import pytest

from aioprocket.tracer import Answer, Snapshot
from aioprocket.tracer.watch import Watch
from aioprocket.wire.icmp import IcmpError

TARGET = ipaddress.ip_address("203.0.113.9")
EXPIRED = IcmpError(type=11, code=0)


def router(ttl: int) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(f"192.0.2.{ttl}")


class Network:
    """A path of some hops that answers at once; each hop's times are given one after the other."""

    def __init__(self, distance: int, rtts: tuple[float, ...] = (0.01,)) -> None:
        self.distance = distance
        self.rtts = rtts
        self.silent: set[int] = set()
        self.sent: list[int] = []

    def serve(self, watch: Watch, now: float) -> None:
        while (launch := watch.launch(now)) is not None:
            self.sent.append(launch.ttl)
            if launch.ttl in self.silent:
                continue
            rtt = self.rtts[(watch.round - 1) % len(self.rtts)]
            if launch.ttl >= self.distance:
                answer = Answer(address=TARGET, rtt=rtt, reached=True)
            else:
                answer = Answer(address=router(launch.ttl), rtt=rtt, error=EXPIRED)
            assert watch.answered(launch.number, answer)
            watch.expire(now)


def run(watch: Watch, network: Network, moments: list[float]) -> list[Snapshot]:
    snapshots = []
    for now in moments:
        watch.expire(now)
        snapshot = watch.tick(now)
        if snapshot is not None:
            snapshots.append(snapshot)
        network.serve(watch, now)
    return snapshots


def test_a_snapshot_ends_each_round_and_the_last_one_the_watch() -> None:
    watch, network = Watch(interval=1.0, rounds=3), Network(3)

    snapshots = run(watch, network, [0.0, 0.5, 1.0, 1.9, 2.0, 2.1])

    assert [snapshot.round for snapshot in snapshots] == [1, 2, 3]
    assert watch.done
    assert [hop.address for hop in snapshots[0].hops] == [router(1), router(2), TARGET]
    assert [hop.sent for hop in snapshots[-1].hops] == [3, 3, 3]
    assert snapshots[-1].reached


def test_nothing_is_sent_behind_the_destination_once_it_is_known() -> None:
    watch, network = Watch(interval=1.0, parallel=2), Network(3)

    run(watch, network, [0.0, 1.0, 2.0])

    assert network.sent == [1, 2, 3] * 3


def test_figures_are_those_of_all_times() -> None:
    rtts = (0.010, 0.030, 0.020, 0.060)
    watch, network = Watch(interval=1.0, rounds=4), Network(1, rtts)

    (hop,) = run(watch, network, [0.0, 1.0, 2.0, 3.0, 3.1])[-1].hops

    assert (hop.sent, hop.received, hop.loss) == (4, 4, 0)
    assert (hop.last, hop.best, hop.worst) == (0.060, 0.010, 0.060)
    assert hop.average == pytest.approx(statistics.mean(rtts))
    assert hop.stddev == pytest.approx(statistics.pstdev(rtts))
    assert hop.jitter == pytest.approx((0.020 + 0.010 + 0.040) / 3)


def test_what_may_still_be_answered_is_not_lost_yet() -> None:
    watch, network = Watch(interval=1.0, timeout=3.0), Network(2)
    network.silent = {1}

    (early,) = run(watch, network, [0.0, 1.0])
    assert early.hops == ()  # hop 1 is waited for, and so is all behind it

    late = run(watch, network, [3.5])[-1]
    assert [(hop.ttl, hop.sent, hop.received) for hop in late.hops] == [(1, 1, 0), (2, 1, 1)]
    assert late.hops[0].loss == 1
    assert late.hops[0].address is None


def test_a_way_that_becomes_longer_is_followed() -> None:
    watch, network = Watch(interval=1.0, parallel=1), Network(2)
    run(watch, network, [0.0])
    network.distance = 4

    snapshots = run(watch, network, [1.0, 2.0, 3.0])

    assert [hop.address for hop in snapshots[-1].hops] == [router(1), router(2), router(3), TARGET]
    assert snapshots[-1].hops[1].addresses == (TARGET, router(2))


def test_a_way_that_becomes_shorter_is_shown_so() -> None:
    watch, network = Watch(interval=1.0), Network(4)
    run(watch, network, [0.0])
    network.distance = 2

    snapshots = run(watch, network, [1.0, 2.0])

    assert [hop.ttl for hop in snapshots[-1].hops] == [1, 2]


def test_rounds_of_a_while_in_which_nobody_asked_are_left_out() -> None:
    watch, network = Watch(interval=1.0), Network(1)

    run(watch, network, [0.0, 10.0, 10.1, 10.9])
    assert watch.round == 2
    run(watch, network, [11.0])
    assert watch.round == 3


def test_rounds_keep_the_beat_though_each_is_seen_a_little_late() -> None:
    watch, network = Watch(interval=1.0), Network(1)

    run(watch, network, [number + 0.2 for number in range(10)])

    assert watch.round == 10
    assert watch.wakes_at() == pytest.approx(10.2)


def test_answers_to_rounds_long_past_are_strays() -> None:
    watch, network = Watch(interval=0.1, timeout=0.2, max_hops=1), Network(1)
    network.silent = {1}
    run(watch, network, [number / 10 for number in range(400)])

    assert not watch.answered(0, Answer(address=TARGET, rtt=1.0, reached=True))
    assert watch.sent_at(0) is None
    assert watch.round > 390
