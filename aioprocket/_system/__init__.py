"""One system call away: descriptors, socket options, interfaces, namespaces, TUN.

Nothing here waits, and nothing knows a loop. What fails raises the `OSError` of its system call;
the layers above say what it means.
"""

try:
    from . import _native as _native
except ImportError as error:
    from importlib.util import find_spec

    if find_spec("._native", __name__):
        raise  # it is there, but this interpreter cannot have it
    raise ImportError(
        "aioprocket is imported from its sources, in which nothing is built: "
        "'pip install -e .' builds it there, or leave that folder to use the installed one"
    ) from error
