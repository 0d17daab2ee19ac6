"""The laboratory: what tests need of the machine, made for them and taken away again.

`must` decides between skip and failure, `accounts` runs code as nobody, `helpers` builds and
installs the helper, `traffic` makes packets, `leaks` finds what a test left behind. Namespaces and
links come from the demo's ``sandbox``.
"""
