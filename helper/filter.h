/* SPDX-License-Identifier: MIT */
/* The filter of a job's socket: what was asked for, and what its rule adds. */
#pragma once

#include "open.h"

/* The filter in the place of one that is there, and the lock on it. */
MUST_CHECK int filter_set(struct job *job);

/* Nothing passes from here on, until filter_replace(). */
MUST_CHECK int filter_drop_all(struct job *job);

/* Throws away what came before, whatever processor still has it in hand. */
MUST_CHECK int filter_drain(struct job *job);

/* As filter_set(); where no filter was asked for, there is none then. */
MUST_CHECK int filter_replace(struct job *job);
