/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "caller.h"

static const uint32_t overflow_id = 65534;
static const ino_t initial_users = 0xEFFFFFFD; /* PROC_USER_INIT_INO */

/*
 * In a user namespace the kernel gives this id (kernel.overflowuid) to all
 * that have none there: they are many, and it is nobody's.
 */
static bool is_identity(uint32_t id)
{
	struct stat users;

	return id != overflow_id ||
	       (stat("/proc/self/ns/user", &users) == 0 &&
		users.st_ino == initial_users);
}

/*
 * The process is the caller's and keeps his groups, but for sudo and the
 * broker, which have root's: then the kernel knows those of the socket's maker.
 */
static void find_groups(int session, struct caller *caller)
{
	static gid_t groups[NGROUPS_MAX + 1];
	socklen_t size = NGROUPS_MAX * sizeof(groups[0]);
	int count;

	groups[0] = caller->gid;
	if (caller->mode != MODE_SUDO && caller->mode != MODE_BROKER)
		count = getgroups(NGROUPS_MAX, groups + 1);
	else if (getsockopt(session, SOL_SOCKET, SO_PEERGROUPS, groups + 1,
			    &size) == 0)
		count = (int)(size / sizeof(groups[0]));
	else
		count = 0;
	caller->groups = groups;
	for (int i = 0; i <= count; i++)
		if (is_identity(groups[i]))
			groups[caller->group_count++] = groups[i];
}

/* Whether the text is this number, as sudo writes it. */
static bool says(const char *text, uid_t uid)
{
	char digits[sizeof("4294967295")];
	char *at = digits + sizeof(digits) - 1;

	*at = '\0';
	do
		*--at = (char)('0' + uid % 10);
	while ((uid /= 10) != 0);
	return strcmp(text, at) == 0;
}

static void look_at_file(struct caller *caller)
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
	/* They differ by a setuid or setgid bit only: both are SETUID. */
	if (getuid() != geteuid() || getgid() != getegid())
		return MODE_SETUID;
	/* With equal ids it was the file's capabilities (capabilities(7)). */
	if (getauxval(AT_SECURE))
		return MODE_CAPABILITIES;
	if (getuid() == 0 && sudo_uid != NULL)
		return MODE_SUDO;
	return MODE_PLAIN;
}

int caller_identify(int session, const char *sudo_uid, struct caller *caller)
{
	struct ucred maker;
	socklen_t size = sizeof(maker);

	*caller = (struct caller){
		.mode = find_mode(sudo_uid),
		.uid = getuid(),
		.gid = getgid(),
	};
	if (getauxval(AT_SECURE))
		caller->state |= STATE_SECURE;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		caller->state |= STATE_NO_NEW_PRIVS;
	look_at_file(caller);
	/*
	 * Who made the socketpair, as he was then; sudo does not change that.
	 * A socket that is not connected has no maker: it says -1.
	 */
	if (getsockopt(session, SOL_SOCKET, SO_PEERCRED, &maker, &size) ||
	    maker.uid == (uid_t)-1)
		return -1;
	if (caller->mode == MODE_SUDO) {
		caller->uid = maker.uid;
		caller->gid = maker.gid;
		caller->known = says(sudo_uid, maker.uid);
	} else {
		caller->known = maker.uid == caller->uid;
	}
	caller->known = caller->known && is_identity(caller->uid);
	caller->pid = maker.pid;
	find_groups(session, caller);
	return 0;
}

int caller_identify_peer(int connection, struct caller *caller)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	/* As he was when he connected, whatever he has become. */
	if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return -1;
	caller->uid = peer.uid;
	caller->gid = peer.gid;
	caller->pid = peer.pid;
	caller->known = is_identity(peer.uid) && is_identity(peer.gid);
	if (!caller->known) {
		/* There is nobody to become. */
		caller->uid = getuid();
		caller->gid = getgid();
	}
	find_groups(connection, caller);
	return 0;
}
