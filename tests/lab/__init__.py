"""The laboratory: what tests need of the machine, made for them and taken away again.

`must` decides between skip and failure, `deadline` ends tests that wait for ever, `leaks` finds
what a test left behind. `accounts` runs functions without privilege, `programs` whole programs,
`nobody` whole commands; `helpers` builds and installs the helper; `traffic` makes packets.
Namespaces and links come from the demo's ``sandbox``.
"""
