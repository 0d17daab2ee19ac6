"""A piece of the machine of one's own: namespaces, cables and accounts that vanish with us.

The demo and the tests stand on it. It knows nothing of aioprocket, and needs no tool of the
system: everything is a system call or a netlink message. Nothing made here outlives the processes
in it, not even after ``kill -9``: the kernel keeps a namespace only while somebody holds it.
"""
