"""``aioprocket ping``: hosts, again and again, until it is enough."""
