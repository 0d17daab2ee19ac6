/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_ECHO_DESTINATION_H
#define AIOPROCKET_ECHO_DESTINATION_H

/* Where a probe goes, as system calls take it. */

#include "echo_table.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

union destination {
	struct sockaddr any;
	struct sockaddr_in inet;
	struct sockaddr_in6 inet6;
};

static inline socklen_t
make_destination(const struct echo_table *table,
		 const struct echo_probe *probe, union destination *address)
{
	memset(address, 0, sizeof(*address));
	if (table->version == 4) {
		address->inet.sin_family = AF_INET;
		memcpy(&address->inet.sin_addr, probe->address, 4);
		return sizeof(address->inet);
	}
	address->inet6.sin6_family = AF_INET6;
	address->inet6.sin6_scope_id = probe->scope;
	memcpy(&address->inet6.sin6_addr, probe->address, ECHO_ADDRESS);
	return sizeof(address->inet6);
}

#endif
