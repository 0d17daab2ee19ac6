"""One system call away: descriptors, socket options, interfaces, namespaces, TUN.

Nothing here waits, and nothing knows a loop. What fails raises the `OSError` of its system call;
the layers above say what it means.
"""

try:
    from . import _native as _native
except ImportError as error:
    raise ImportError(
        "aioprocket is imported from its sources, in which nothing is built: "
        "'pip install -e .' builds it there, or leave that folder to use the installed one"
    ) from error
