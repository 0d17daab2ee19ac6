/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "caller.h"
#include "must_check.h"

/*
 * SO_PEERCRED of a socketpair names the process that made the pair, as it
 * was then. sudo does not change that, and nobody can forge it.
 */
static MUST_CHECK int find_maker(int session, struct ucred *maker)
{
	socklen_t size = sizeof(*maker);

	if (getsockopt(session, SOL_SOCKET, SO_PEERCRED, maker, &size))
		return -1;
	return size == sizeof(*maker) && maker->uid != (uid_t)-1 ? 0 : -1;
}

/* Decimal, nothing around it, no needless zero: as sudo writes it. */
static MUST_CHECK int parse_uid(const char *text, uid_t *uid)
{
	uint64_t value = 0;
	const size_t length = strnlen(text, sizeof("4294967295"));

	if (length == 0 || length >= sizeof("4294967295") ||
	    (text[0] == '0' && length > 1))
		return -1;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		value = value * 10 + (uint64_t)(text[i] - '0');
	}
	if (value >= (uid_t)-1)
		return -1;
	*uid = (uid_t)value;
	return 0;
}

static void inspect_file(struct caller *caller)
{
	struct stat file;

	/* Without /proc both stay false: there is no safe file to go by. */
	if (stat("/proc/self/exe", &file))
		return;
	caller->file_safe = file.st_uid == 0 &&
			    !(file.st_mode & (S_IWGRP | S_IWOTH));
	caller->file_for_all = (file.st_mode & S_IXOTH) != 0;
}

static enum mode find_mode(const char *sudo_uid)
{
	/* Real and effective differ only by setuid or setgid: both are SETUID. */
	if (getuid() != geteuid() || getgid() != getegid())
		return MODE_SETUID;
	/* With equal ids it was the file's capabilities (capabilities(7)). */
	if (getauxval(AT_SECURE))
		return MODE_CAPABILITIES;
	if (getuid() == 0 && sudo_uid != NULL)
		return MODE_SUDO;
	return MODE_PLAIN;
}

void caller_identify(int session, const char *sudo_uid, struct caller *caller)
{
	struct ucred maker;
	uid_t claimed;

	*caller = (struct caller){
		.mode = find_mode(sudo_uid),
		.uid = getuid(),
		.gid = getgid(),
	};
	if (getauxval(AT_SECURE))
		caller->state |= STATE_SECURE;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		caller->state |= STATE_NO_NEW_PRIVS;
	inspect_file(caller);

	if (find_maker(session, &maker))
		return;
	if (caller->mode != MODE_SUDO) {
		caller->known = maker.uid == caller->uid;
		return;
	}
	caller->uid = maker.uid;
	caller->gid = maker.gid;
	caller->known = parse_uid(sudo_uid, &claimed) == 0 &&
			claimed == maker.uid;
}
