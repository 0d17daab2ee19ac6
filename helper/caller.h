/* SPDX-License-Identifier: MIT */
/* Who is calling, by facts of the kernel alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "must_check.h"

/* How the helper was started. */
enum mode {
	MODE_PLAIN = 1, MODE_SETUID, MODE_CAPABILITIES, MODE_SUDO, MODE_BROKER,
};

enum state {
	STATE_NO_NEW_PRIVS = 1 << 0, STATE_SECURE = 1 << 1,
	STATE_SECCOMP = 1 << 2, STATE_LANDLOCK = 1 << 3,
};

struct caller {
	enum mode mode;
	uint16_t state; /* enum state */
	bool known; /* false: gets nothing but a refusal */
	bool lost; /* as above: nobody can tell, or reach, his network */
	bool foreign; /* his network is not the broker's; we are in his */
	uid_t uid;
	gid_t gid;
	pid_t pid; /* who made the socket; for the log alone */
	const gid_t *groups; /* primary and supplementary */
	size_t group_count;
	bool stays; /* no rule lets him into another network namespace */
	/* The file of the helper or, in its place, of the broker's socket. */
	bool file_safe; /* only root can change it */
	bool file_for_all; /* everybody can execute it, or connect to it */
};

/*
 * `sudo_uid` is SUDO_UID of the environment, or NULL. To be called before
 * the process changes its ids. -1 where nobody is at the other end.
 */
MUST_CHECK int caller_identify(int session, const char *sudo_uid,
			       struct caller *caller);

/* Who is at the other end of a broker's connection: his ids and groups. */
MUST_CHECK int caller_identify_peer(int connection, struct caller *caller);
