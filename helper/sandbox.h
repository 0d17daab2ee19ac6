/* SPDX-License-Identifier: MIT */
/*
 * What is left to a process that has put its privilege down: the system calls
 * of its task, and the files of the list. For good, and for its children.
 */
#pragma once

#include <stdint.h>

#include "must_check.h"
#include "policy.h"

/*
 * Both need no_new_privs, and add to `state` (enum state) what is in force.
 * What this kernel or machine has not is left out. After -1 the process must
 * not go on.
 */

/* Files: the devices of the caller's rules, and settings of the network. */
MUST_CHECK int sandbox_files(const struct policy *policy, uint16_t *state);

/* A broker's children are in its sandbox, and have more to do at first. */
enum sandbox { SANDBOX_SESSION, SANDBOX_BROKER };

/* System calls. Nothing but serve() and broker.c goes on from there. */
MUST_CHECK int sandbox_calls(enum sandbox whose, uint16_t *state);
