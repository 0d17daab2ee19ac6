"""Bytes and what they mean: packets' headers and the helper's messages. No socket, no clock.

Every header has the same two verbs. ``X.parse(data)`` returns the value and what follows it, and
raises nothing but `WireError`. ``value.emit(payload)`` returns both as bytes, lengths and checksums
made, and never fails on a valid value. Big-endian numbers exist here only.
"""
