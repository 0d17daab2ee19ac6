"""One system call away: descriptors, socket options, interfaces, namespaces, TUN.

Nothing here waits, and nothing knows a loop. What fails raises the `OSError` of its system call;
the layers above say what it means.
"""
