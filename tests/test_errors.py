import errno
import inspect
import os
import pickle
import traceback
from typing import Any

import anyio
import pytest

from aioprocket import errors

# Each error: how it is made, which builtins (and anyio errors) it also is, and its errno.
MADE: dict[type[errors.AioprocketError], tuple[dict[str, Any], tuple[type, ...], int | None]] = {
    errors.SpecError: ({}, (ValueError,), None),
    errors.MissingLibraryError: ({"name": "netaddr"}, (ImportError,), None),
    errors.HelperError: ({}, (), None),
    errors.HelperNotFoundError: ({}, (errors.HelperError, FileNotFoundError), errno.ENOENT),
    errors.HelperTimeoutError: ({}, (errors.HelperError, TimeoutError), errno.ETIMEDOUT),
    errors.HelperDiedError: ({}, (errors.HelperError, ConnectionResetError), errno.ECONNRESET),
    errors.HelperProtocolError: ({}, (errors.HelperError,), None),
    errors.NotPermittedError: ({}, (PermissionError,), errno.EPERM),
    errors.NetworkUnavailableError: ({}, (OSError,), errno.EPERM),
    errors.OpenError: ({"errno": errno.ENODEV, "step": "bind"}, (OSError,), errno.ENODEV),
    errors.FilterError: ({}, (ValueError,), None),
    errors.WireError: ({}, (ValueError,), None),
    errors.CaptureError: ({}, (OSError,), errno.EIO),
    errors.ChannelError: ({}, (OSError,), errno.EIO),
    errors.ReportedError: (
        {"errno": errno.EHOSTUNREACH, "reporter": "ICMP", "addr": ("192.0.2.1", 9)},
        (errors.ChannelError,),
        errno.EHOSTUNREACH,
    ),
    errors.ResolutionError: ({"host": "h.invalid"}, (OSError,), errno.ENOENT),
    errors.ClosedError: ({}, (OSError, anyio.ClosedResourceError), errno.EBADF),
    errors.BusyError: ({}, (OSError, anyio.BusyResourceError), errno.EALREADY),
    errors.ActiveModeError: ({}, (OSError,), errno.EINVAL),
    errors.LinkDownError: ({"interface": "eth0"}, (OSError,), errno.ENETDOWN),
}

every_error = pytest.mark.parametrize("kind", MADE, ids=lambda kind: kind.__name__)


def make(kind: type[errors.AioprocketError], hint: str = "") -> errors.AioprocketError:
    return kind("open on 'eth9': no", hint=hint, **MADE[kind][0])


def test_every_error_is_in_the_table() -> None:
    defined = {
        kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind)
        and issubclass(kind, errors.AioprocketError)
        and not name.startswith("_")
    }

    assert defined == {errors.AioprocketError, *MADE}


@every_error
def test_error_is_also_what_a_caller_would_look_for(kind: type[errors.AioprocketError]) -> None:
    error = make(kind)

    assert isinstance(error, errors.AioprocketError)
    assert all(isinstance(error, builtin) for builtin in MADE[kind][1])
    assert isinstance(error, OSError) == (MADE[kind][2] is not None)


@every_error
def test_errno_is_never_lost(kind: type[errors.AioprocketError]) -> None:
    number = MADE[kind][2]
    error = make(kind)

    assert getattr(error, "errno", None) == number
    if number is not None:
        assert getattr(error, "strerror", None) == os.strerror(number)


@every_error
def test_text_is_the_message_alone(kind: type[errors.AioprocketError]) -> None:
    assert str(make(kind)) == "open on 'eth9': no"
    assert str(make(kind, hint="try eth0")) == "open on 'eth9': no"


@every_error
def test_hint_is_shown_below_the_message(kind: type[errors.AioprocketError]) -> None:
    error = make(kind, hint="try eth0")

    assert error.hint == "try eth0"
    assert traceback.format_exception_only(error)[-2:] == [
        f"aioprocket.errors.{kind.__name__}: open on 'eth9': no\n",
        "try eth0\n",
    ]


@every_error
def test_without_a_hint_there_is_no_note(kind: type[errors.AioprocketError]) -> None:
    error = make(kind)

    assert error.hint == ""
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize(
    "kind",
    [errors.NotPermittedError, errors.ClosedError, errors.BusyError, errors.ActiveModeError],
    ids=lambda kind: kind.__name__,
)
def test_errno_of_the_system_takes_the_place_of_the_usual_one(kind: Any) -> None:
    assert kind("no", errno=errno.EACCES).errno == errno.EACCES


def test_step_says_what_failed() -> None:
    assert errors.OpenError("no", errno=errno.ENODEV, step="interface").step == "interface"
    assert errors.NotPermittedError("no").step == "policy"
    assert errors.NotPermittedError("no", step="socket").step == "socket"


def test_place_of_the_fault_is_kept() -> None:
    assert errors.WireError("no", offset=12).offset == 12
    assert errors.FilterError("no", text="tcp prot", position=4).text == "tcp prot"
    assert errors.FilterError("no", text="tcp prot", position=4).position == 4
    assert errors.LinkDownError("no", interface="eth0").interface == "eth0"
    assert errors.LinkDownError("no", interface="eth0", errno=errno.ENXIO).errno == errno.ENXIO


def test_errno_text_has_the_words_and_the_symbol() -> None:
    assert errors.errno_text(errno.ENODEV) == "No such device (ENODEV)"


def test_errno_text_of_an_unknown_number_has_the_number() -> None:
    assert errors.errno_text(9999) == "Unknown error 9999 (9999)"


@every_error
def test_error_crosses_to_another_process(kind: type[errors.AioprocketError]) -> None:
    error = make(kind, hint="try eth0")

    copied = pickle.loads(pickle.dumps(error))

    assert type(copied) is kind
    assert str(copied) == str(error)
    assert vars(copied) == vars(error)
    assert getattr(copied, "errno", None) == MADE[kind][2]
