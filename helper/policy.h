/* SPDX-License-Identifier: MIT */
/*
 * Who may have what. Pure: no system call.
 */
#ifndef AIOPROCKET_POLICY_H
#define AIOPROCKET_POLICY_H

#include "caller.h"
#include "request.h"

/* Why not; PROTOCOL.md's numbers. */
enum reason {
	REASON_NONE = 0, /* allowed */
	REASON_KIND = 1,
	REASON_PROTOCOL = 2,
	REASON_PORT = 3,
	REASON_NAME = 4,
	REASON_DEVICE = 5,
	REASON_MARK = 6,
	REASON_BUFFER = 7,
	REASON_PRIORITY = 8,
	REASON_NAMESPACE = 9,
	REASON_EVERYBODY = 10,
	REASON_FILE = 11,
};

/* A character device that may be opened. The path never comes from outside. */
struct device {
	const char *name;
	const char *path;
	unsigned int major;
	unsigned int minor;
};

/* The one decision. Whose a network namespace is, open.c finds out. */
MUST_CHECK enum reason policy_decide(const struct caller *caller,
				     const struct request *request);

/* The listed device of this name, or NULL. */
const struct device *policy_device(const char *name);

#endif
