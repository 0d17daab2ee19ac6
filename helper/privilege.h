/* SPDX-License-Identifier: MIT */
/*
 * Little privilege, held down: the process becomes the caller and keeps a
 * few capabilities, of which none is in effect but between raise and lower.
 */
#pragma once

#include <linux/capability.h>
#include <stdint.h>

#include "caller.h"
#include "must_check.h"

enum {
	MAY_BIND_LOW = 1 << CAP_NET_BIND_SERVICE,
	MAY_ADMIN = 1 << CAP_NET_ADMIN,
	MAY_RAW = 1 << CAP_NET_RAW,
	MAY_ENTER = 1 << CAP_SYS_ADMIN, /* for setns(2) alone */
};

/* For good. After -1 the process must not go on. */
MUST_CHECK int privilege_drop(const struct caller *caller);

/* The capabilities that can be raised, by bit. */
uint32_t privilege_held(void);

/*
 * Those of `wanted` that are held take effect; the lack of others is the
 * kernel's to refuse. Nothing but the one system call goes in between.
 */
MUST_CHECK int privilege_raise(uint32_t wanted);

/* Hands on the `result` of that call, with its errno; -1 if it cannot. */
MUST_CHECK int privilege_lower(int result);
