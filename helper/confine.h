/* SPDX-License-Identifier: MIT */
/* What a socket's locked filter tests before its own. Pure. */
#pragma once

#include "policy.h"

enum { CONFINE_MAX = 3 + 2 + 2 * POLICY_LIST_MAX + 2 };

/*
 * Writes the tests that a request or its rule demands: of the interface,
 * of the Ethernet protocol; and, where there is no filter behind them, to
 * take the packet. `rule` may be NULL. The number of instructions.
 */
size_t confine_write(const struct request *request, const struct rule *rule,
		     uint32_t ifindex, struct sock_filter code[CONFINE_MAX]);
