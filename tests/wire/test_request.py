import golden_files
import pytest

from aioprocket.errors import WireError
from aioprocket.wire.kinds import Flag
from aioprocket.wire.request import Request, decode_request, encode_request


def written(request: Request) -> list[tuple[str, str]]:
    """The meaning in the form of golden/README.md."""
    found = [("op", request.op.name.lower())]
    if request.kind is not None:
        found.append(("kind", request.kind.name.lower()))
    found.append(("id", str(request.id)))
    if request.kind is not None and request.kind.name.startswith("RAW"):
        found.append(("protocol", str(request.protocol)))
    for flag in Flag:
        if flag in request.flags:
            name = str(flag.name).lower()
            found += [(name, text) for text in written_field(getattr(request, name))]
    return found


def written_field(value: object) -> list[str]:
    match value:
        case True:
            return ["yes"]
        case tuple():
            return [text for item in value for text in written_item(item)]
        case _:
            return [getattr(value, "exploded", str(value))]


def written_item(item: object) -> list[str]:
    if isinstance(item, tuple):
        return [" ".join(str(number) for number in item)]
    return [getattr(item, "exploded", "")]


@pytest.mark.parametrize("golden", golden_files.good("request"), ids=lambda golden: golden.name)
def test_golden_request_is_read_and_written(golden: golden_files.Golden) -> None:
    request = decode_request(golden.data)

    assert written(request) == list(golden.meaning)
    assert encode_request(request) == golden.data


@pytest.mark.parametrize("golden", golden_files.faulty("request"), ids=lambda golden: golden.name)
def test_golden_fault_is_found_at_its_field(golden: golden_files.Golden) -> None:
    with pytest.raises(WireError) as caught:
        decode_request(golden.data)

    assert str(caught.value).startswith(f"{golden['fault']}: ")
