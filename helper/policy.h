/* SPDX-License-Identifier: MIT */
/* Who may have what. Pure: no system call. */
#pragma once

#include "caller.h"
#include "request.h"

/* Why not, in the order of their numbers; REASON_NONE: allowed. */
enum reason {
	REASON_NONE, REASON_KIND, REASON_PROTOCOL, REASON_PORT, REASON_NAME,
	REASON_DEVICE, REASON_MARK, REASON_BUFFER, REASON_PRIORITY,
	REASON_NAMESPACE, REASON_EVERYBODY, REASON_FILE, REASON_ADDRESS,
};

/* A character device on the list. No path ever comes from outside. */
struct device {
	const char *name;
	const char *path;
	unsigned int major, minor;
};

/* The one decision. Whose a network namespace is, open.c finds out. */
MUST_CHECK enum reason policy_decide(const struct caller *caller,
				     const struct request *request);

/* The listed device of this name, or NULL. */
const struct device *policy_device(const char *name);
