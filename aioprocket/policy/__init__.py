"""The helper's policy: its text, its file, and what it says to a request.

The decision is the helper's own code in C, compiled once more as a module. What is here is for who
writes the file, and for errors that say what to ask for.
"""

from .decision import BUILT_IN, Decision, Fault, Person, decide, find_fault
from .file import POLICY_PATH, Distrust, distrust, read_policy, write_policy
from .text import PolicyText, Rule
from .words import parse_request, request_words

__all__ = (
    "BUILT_IN",
    "POLICY_PATH",
    "Decision",
    "Distrust",
    "Fault",
    "Person",
    "PolicyText",
    "Rule",
    "decide",
    "distrust",
    "find_fault",
    "parse_request",
    "read_policy",
    "request_words",
    "write_policy",
)
