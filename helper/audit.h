/* SPDX-License-Identifier: MIT */
/* One line to the system's log for each decision. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "policy.h"

struct audit {
	int socket; /* -1: there is no log */
	int64_t second; /* of the monotonic clock */
	uint32_t lines[2]; /* in this second: of denials, of grants */
	uint32_t withheld; /* since the last line, or not taken by the log */
};

/* Never fails: what cannot be logged is not, and is served all the same. */
void audit_begin(struct audit *audit, const struct caller *caller,
		 const struct policy *policy);

void audit_decision(struct audit *audit, const struct caller *caller,
		    const struct request *request,
		    const struct verdict_of_policy *verdict);
