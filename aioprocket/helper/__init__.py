"""Getting a descriptor: by one's own rights, or from the privileged helper.

`obtain` is the ladder of ways, `Helper` a session for many descriptors. Who uses the descriptor,
and how, is not known here.
"""

from .client import Helper
from .ladder import HelperLike, check_helper, is_named, obtain, obtain_directly, obtain_route
from .locate import helper_path
from .session import Facts
from .way import check_timeout

__all__ = (
    "Facts",
    "Helper",
    "HelperLike",
    "check_helper",
    "check_timeout",
    "helper_path",
    "is_named",
    "obtain",
    "obtain_directly",
    "obtain_route",
)
