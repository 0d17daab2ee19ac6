/* SPDX-License-Identifier: MIT */
/*
 * Descriptors of character devices, and the TUN and TAP devices behind one.
 */
#ifndef AIOPROCKET_TUN_H
#define AIOPROCKET_TUN_H

#include "caller.h"
#include "must_check.h"
#include "request.h"

/*
 * Opens a device of policy_device() with the caller's rights to it. -1 with
 * the stage that failed in `reply`.
 */
MUST_CHECK int device_open(const char *name, struct reply *reply);

/*
 * Makes `fd`, of net/tun, a queue of the device that was asked for. A new
 * device goes away with `fd` until the very last step has succeeded.
 */
MUST_CHECK int impl_tun(int fd, const struct request *request,
			const struct caller *caller, struct reply *reply);

#endif
