/* SPDX-License-Identifier: MIT */
/*
 * One descriptor, prepared as PROTOCOL.md says, with privilege where it
 * takes privilege.
 */
#ifndef AIOPROCKET_OPEN_H
#define AIOPROCKET_OPEN_H

#include "caller.h"
#include "must_check.h"
#include "request.h"

/*
 * A descriptor that is all that was asked for, the receiver's to close, with
 * the facts of it in `reply`; or -1 with the stage that failed.
 */
MUST_CHECK int open_request(const struct request *request,
			    const struct caller *caller, struct reply *reply);

/* Whether `fd` is a network namespace that this caller may work in. */
MUST_CHECK int open_check_namespace(int fd, const struct caller *caller);

/* Takes the whole process there, for good. */
MUST_CHECK int open_enter_namespace(int fd);

#endif
