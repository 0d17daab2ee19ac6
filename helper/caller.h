/* SPDX-License-Identifier: MIT */
/*
 * Who is calling, by facts of the kernel alone.
 */
#ifndef AIOPROCKET_CALLER_H
#define AIOPROCKET_CALLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* How the helper was started; PROTOCOL.md's numbers. */
enum mode {
	MODE_PLAIN = 1,
	MODE_SETUID = 2,
	MODE_CAPABILITIES = 3,
	MODE_SUDO = 4,
	MODE_BROKER = 5,
};

enum state {
	STATE_NO_NEW_PRIVS = 1 << 0,
	STATE_SECURE = 1 << 1,
};

struct caller {
	enum mode mode;
	uint16_t state; /* enum state */
	bool known;	/* false: every request is refused */
	uid_t uid;
	gid_t gid;
	bool file_safe;	    /* only root can change the helper's own file */
	bool file_for_all;  /* everybody can execute it */
};

/*
 * `sudo_uid` is the environment's SUDO_UID or NULL. Must come before any
 * identifier of the process is changed.
 */
void caller_identify(int session, const char *sudo_uid, struct caller *caller);

#endif
