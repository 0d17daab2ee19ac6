/* SPDX-License-Identifier: MIT */
/* A session: requests in, replies out, until either side has enough. */
#pragma once

#include "caller.h"
#include "must_check.h"
#include "policy.h"

/*
 * 0 when the client has ended the session, 1 when the helper has. Returns
 * in a forked child, too, which then must do nothing but end with the value.
 */
MUST_CHECK int serve(int socket, const struct caller *caller,
		     struct policy *policy);
