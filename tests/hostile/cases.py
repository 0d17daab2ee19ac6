"""The list of hostile cases: what each is, and in which ways of having a helper it has a test.

Sizes are those of helper/PROTOCOL.md. ``ONCE`` stands where the way makes no difference: the pure
decoder, the client's side, what a build is. What cannot be had here, or was made smaller, is said.
"""

from typing import Final

from hostile.ways import BROKER, CAPABILITIES, SETUID, STARTED, SUDO, WAYS

__all__ = ("CASES", "ONCE")

ONCE: Final = ("once",)
_BITS = (SETUID, CAPABILITIES)

CASES: Final[dict[int, tuple[str, tuple[str, ...]]]] = {
    1: ("an empty message", WAYS),
    2: ("one byte", WAYS),
    3: ("a byte less than a header", WAYS),
    4: ("a header of zeros", WAYS),
    5: ("a header of ones", WAYS),
    6: ("other versions", WAYS),
    7: ("a size that is not the header's", WAYS),
    8: ("no such op", WAYS),
    9: ("no such kind", WAYS),
    10: ("each reserved byte", WAYS),
    11: ("each flag without its field, unknown flags", (*WAYS, *ONCE)),
    12: ("each field without its flag", WAYS),
    13: ("a filter that is missing, unannounced, short or long", WAYS),
    14: ("a filter of more instructions than there can be", WAYS),
    15: ("a message longer than any request", WAYS),
    16: ("OPEN before HELLO", WAYS),
    17: ("a second HELLO", WAYS),
    18: ("10,000 requests in a row; 100,000 through four sessions of a broker", WAYS),
    19: ("an id that comes again", WAYS),
    20: ("noise, and bits flipped in good requests; by the million in tests/fuzz", (*WAYS, *ONCE)),
    21: ("a session of another type of socket", WAYS),
    # A broker has no session as standard input; case 90 is about what it is passed.
    22: ("standard input that is no session", (*STARTED, *ONCE)),
    23: ("swapped bytes", WAYS),
    24: ("as many descriptors as the kernel takes", WAYS),
    25: ("two descriptors where one is allowed", WAYS),
    26: ("a descriptor where none is allowed", WAYS),
    27: ("credentials and process descriptors as company", WAYS),
    28: ("descriptors that are no network, or not the caller's", WAYS),
    29: ("a client without room for a descriptor", (*WAYS, *ONCE)),
    30: ("a full table of descriptors, inherited", WAYS),
    # A broker's standard output is not its client's.
    31: ("standard output and error are the session, too", STARTED),
    32: ("the session itself as a namespace, and in flight in itself", WAYS),
    33: ("what was granted, in a program that its receiver executes", WAYS),
    34: ("more descriptors in flight than the account may have", WAYS),
    35: ("a reply that is forged", ONCE),
    36: ("types and families of sockets that there are not", (*WAYS, *ONCE)),
    37: ("protocols of more than one byte", WAYS),
    38: ("a raw protocol without a rule", WAYS),
    39: ("AF_NETLINK, AF_ALG, AF_XDP by number", (*WAYS, *ONCE)),
    40: ("ports and addresses beside a rule's, mapped addresses", WAYS),
    41: ("a rule's interface that the request does not name", WAYS),
    42: ("an interface of no name", WAYS),
    43: ("odd names of interfaces", WAYS),
    44: ("a name that is too long by one", WAYS),
    45: ("an interface that is missing", WAYS),
    46: ("an interface that is renamed meanwhile", WAYS),
    47: ("odd names of devices", WAYS),
    48: ("a rule's device that became something else", WAYS),
    49: ("filters that are none, and the longest", WAYS),
    50: ("no filter where a rule demands one", WAYS),
    51: ("a locked filter: detached, replaced, unlocked", WAYS),
    52: ("bound to another interface afterwards", WAYS),
    53: ("a flood while a socket is opened", WAYS),
    # What the documents say that a holder can do.
    54: ("IP_PKTINFO, the scope of an address, IP_HDRINCL, MRT_INIT, TUNSETPERSIST", WAYS),
    55: ("a large ring: 64 MiB of the 1 GiB, for the machine's sake", WAYS),
    56: ("a tun device that is taken, or another's", WAYS),
    57: ("numbers out of range, or beyond a rule", WAYS),
    # sudo without arguments does not reach the helper; a broker is one by its argument.
    58: ("not a single argument", STARTED),
    59: ("arguments, also a megabyte of them", WAYS),
    60: ("variables that mean something to libc, sudo, sanitizers, service managers", WAYS),
    61: ("variables without form, twice, or by the thousand", WAYS),
    62: ("standard descriptors closed, in each combination", WAYS),
    63: ("full pipes as standard output and error", WAYS),
    # A folder of FUSE that hangs: chdir("/") is all that is done with the folder inherited, which
    # asks it nothing; without a server of FUSE in the tests, it has none of its own.
    64: ("umask, a working folder that is gone", WAYS),
    65: ("signals blocked and ignored, an alarm", WAYS),
    66: ("a storm of signals at each moment", WAYS),
    # Some hundred kills, one after another: a thousand at a time end too many filters at once.
    67: ("killed at random moments", WAYS),
    68: ("limits of resources", WAYS),
    # A broker has no bits that a mount could take away; its own rights are its service's.
    69: ("no_new_privs, a file system without setuid", (*STARTED, *ONCE)),
    # sudo does nothing in a user namespace of its caller's, where its own file is nobody's; a
    # broker is of the host, and its clients' namespaces are in case 83 and in its containers.
    70: ("root of one's own user namespace", _BITS),
    71: ("a policy of one's own in a namespace of one's own", _BITS),
    72: ("ptrace, memory, descriptors and core of the helper", WAYS),
    73: ("made slow, frozen", WAYS),
    74: ("its limits lowered by its caller", WAYS),
    75: ("a client that leaves before its reply", WAYS),
    76: ("a client that only reads on", WAYS),
    77: ("a client that never reads", WAYS),
    78: ("64 silent clients and 1,000 more of the account, and others", (BROKER,)),
    # 10,000 a second would end as many filters: 200 in a row.
    79: ("a storm of sessions", WAYS),
    80: ("two processes at one session", WAYS),
    81: ("another account at one session", WAYS),
    82: ("a socket that another account made", WAYS),
    83: ("root of a user namespace as a client", (BROKER,)),
    84: ("a client in another network", WAYS),
    85: ("a client's process that is gone, its number another's", (BROKER,)),
    86: ("another socket in the broker's place", (BROKER, *ONCE)),
    87: ("an abstract name", (BROKER,)),
    # ENOMEM of accept(2) takes the same path, and cannot be had at will.
    88: ("a broker without a descriptor to spare", (BROKER,)),
    89: ("two brokers, a socket left behind, what is no socket", (BROKER,)),
    90: ("what a service manager passes that is not one listener", (BROKER,)),
    91: ("root's socket and the number of another account, by sudo", (SUDO,)),
    92: ("SUDO_UID that is none", (SUDO,)),
    93: ("careless rules of sudo", (SUDO,)),
    94: ("sudo killed", (SUDO,)),
    95: ("root itself", (*WAYS,)),
    96: ("no file, an empty one, only comments", WAYS),
    97: ("files that are not one, sizes and bytes out of form", WAYS),
    98: ("owners and modes, of the file and its folders", WAYS),
    99: ("replaced while it is read", WAYS),
    100: ("rules that are none", WAYS),
    101: ("a group that is the caller's, primary or supplementary", WAYS),
    102: ("65,536 groups", WAYS),
    103: ("a file that root alone can read", WAYS),
    104: ("a helper in a folder that others can write", ONCE),
    105: ("a copy of the helper", _BITS),
    # 32 bits are another table of calls, refused as a whole (live-foreign).
    106: ("compilers, libraries and machines: gcc, clang, musl, aarch64", ONCE),
    107: ("no /proc, no /dev, a read-only root", WAYS),
    # openat2 is not used, and so needs no other way.
    108: ("older kernels: no close_range, no Landlock, no SO_PEERPIDFD", (BROKER, *ONCE)),
    109: ("a descriptor in a refused connection whose last close takes its time", (BROKER,)),
    # To stop the helper that one has started is one's own affair: case 73.
    110: ("a child of a broker's child stopped, its parent killed", (BROKER,)),
    # Where the helper is in the container; its rights are those of bits there, as outside.
    111: ("a container that kept the number of who made it, and its network", (SETUID,)),
    112: ("a new device in a network of one's own, and another account", WAYS),
    113: ("a grant behind more denials than are logged", WAYS),
}
