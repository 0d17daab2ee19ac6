/* SPDX-License-Identifier: MIT */
/* One descriptor, prepared as PROTOCOL.md says, with privilege at need. */
#pragma once

#include "caller.h"
#include "must_check.h"
#include "policy.h"
#include "request.h"

/* One request on its way. */
struct job {
	struct request request;
	const struct caller *caller;
	const struct rule *rule; /* that allows it, or NULL */
	const struct device *device; /* of the kind device */
	struct reply reply;
	bool goes_to_own; /* a namespace that came along, and is the caller's */
	int fd; /* -1: none yet */
};

/*
 * Leaves in `job` the descriptor that was asked for, with the facts of it in
 * the reply; or none, with the stage that failed.
 */
void open_job(struct job *job);

/* Puts a stage that failed, and why by errno, into the reply. Returns -1. */
int open_fail(struct job *job, enum stage stage);

/* Kinds of device.c and tun.c, for open_job() alone. */
MUST_CHECK int impl_device(struct job *job);
MUST_CHECK int impl_tun(struct job *job);

/* What `fd` is to this caller and his policy; -1: no network namespace. */
MUST_CHECK int open_find_site(int fd, const struct caller *caller,
			      const struct policy *policy, struct site *site);

/* Takes the whole process there, for good. */
MUST_CHECK int open_enter_namespace(int fd);
