/* SPDX-License-Identifier: MIT */
/*
 * A helper that waits at a socket of the file system, with a child for each
 * client: who that is and where, the kernel says of the connection.
 */
#pragma once

#include "must_check.h"
#include "policy.h"

/*
 * Puts a listening socket in the place of standard input: one made at `path`,
 * or, where that is NULL, the one that the service manager passed. Says on
 * standard error why not. Not for one who has more rights than his caller.
 * To be called before the environment is cleared.
 */
MUST_CHECK int broker_listen(const char *path);

/*
 * The status of the process: 0 when it was told to end and its children have
 * ended, 71 when it could not go on. Returns in children, too, which then
 * must do nothing but end with it.
 */
MUST_CHECK int broker_serve(struct policy *policy);
