"""What may be spilled, and how much of it is left: without a ring."""

from hypothesis import given
from hypothesis import strategies as st

from aioprocket.channels.spill import Reserve

BLOCK = 1 << 16


@given(
    blocks=st.integers(2, 512),
    closed=st.integers(0, 512),
    share=st.floats(0, 1, allow_nan=False),
)
def test_a_sparse_ring_is_spilled_before_it_is_full(blocks: int, closed: int, share: float) -> None:
    reserve = Reserve(blocks, BLOCK)
    used = int(closed * BLOCK * share)

    wanted = reserve.wants(closed, used)

    if wanted:
        assert closed >= blocks / 4
        assert used <= closed * BLOCK / 4
    if closed >= max(1, blocks / 4) and share <= 0.25:
        assert wanted


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(1, 64), st.integers(0, 65535)),
            st.tuples(st.just("take"), st.integers(0, 200), st.just(0)),
        ),
        max_size=60,
    )
)
def test_what_is_held_is_never_said_to_be_less(steps: list[tuple[str, int, int]]) -> None:
    reserve = Reserve(64, BLOCK)
    left: list[int] = []  # bytes of each packet
    largest = 0
    for what, count, size in steps:
        if what == "add":
            before = reserve.held
            reserve.add(count, count * size)
            added = reserve.held - before
            assert added > count * size
            left += [added // count] * count
            largest = max(largest, added)
        else:
            del left[:count]
            reserve.leave(len(left))
        assert sum(left) <= reserve.held <= sum(left) + largest

    reserve.leave(0)
    assert reserve.held == 0
    assert reserve.has_room()


def test_a_full_reserve_wants_no_more() -> None:
    reserve = Reserve(64, BLOCK)
    assert reserve.wants(64, 0)

    reserve.add(1, 64 * BLOCK)

    assert not reserve.wants(64, 0)
    reserve.leave(0)
    assert reserve.wants(64, 0)
