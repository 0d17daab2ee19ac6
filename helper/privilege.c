/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <grp.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "privilege.h"

static const uint32_t keep = MAY_BIND_LOW | MAY_ADMIN | MAY_RAW | MAY_ENTER;
static const uint32_t may_set_pcap = 1 << CAP_SETPCAP;
/* Not const: capget(2) writes its version there, if it is another. */
static struct __user_cap_header_struct this_process = {
	.version = _LINUX_CAPABILITY_VERSION_3,
};
/* What can be raised: none before privilege_drop(), and never more after. */
static uint32_t kept;

/* capget(2): in two words, of which the second is of no use to us. */
static MUST_CHECK int get_sets(struct __user_cap_data_struct words[2])
{
	return (int)syscall(SYS_capget, &this_process, words);
}

static MUST_CHECK int put_sets(uint32_t permitted, uint32_t effective)
{
	const struct __user_cap_data_struct words[2] = {
		{ .permitted = permitted, .effective = effective },
	};

	return (int)syscall(SYS_capset, &this_process, words);
}

static MUST_CHECK int get_held(uint32_t *held)
{
	struct __user_cap_data_struct words[2] = { 0 };
	const int failed = get_sets(words);

	*held = words[0].permitted;
	return failed;
}

uint32_t privilege_held(void)
{
	return kept;
}

int privilege_raise(uint32_t wanted)
{
	return put_sets(kept, kept & wanted);
}

int privilege_lower(int result)
{
	/* A system call that succeeds leaves errno alone. */
	return privilege_raise(0) ? -1 : result;
}

static bool is_caller(const struct caller *caller)
{
	uid_t uid[3];
	gid_t gid[3];

	if (getresuid(&uid[0], &uid[1], &uid[2]) ||
	    getresgid(&gid[0], &gid[1], &gid[2]))
		return false;
	for (int i = 0; i < 3; i++)
		if (uid[i] != caller->uid || gid[i] != caller->gid)
			return false;
	return true;
}

static MUST_CHECK int become_caller(const struct caller *caller)
{
	/* An id that a user namespace does not map cannot even be kept. */
	if (is_caller(caller))
		return 0;
	/* setuid leaves the caller's groups in place; sudo brought root's. */
	if (getuid() != caller->uid && setgroups(0, NULL))
		return -1;
	return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) ||
	       setresgid(caller->gid, caller->gid, caller->gid) ||
	       setresuid(caller->uid, caller->uid, caller->uid) ||
	       prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
}

/*
 * No exec may bring a capability back. Without CAP_SETPCAP (as with file
 * capabilities) this is not possible, and no_new_privs stands there alone.
 */
static MUST_CHECK int lock_bounds(uint32_t held)
{
	const int bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED |
			 SECBIT_NO_SETUID_FIXUP |
			 SECBIT_NO_SETUID_FIXUP_LOCKED |
			 SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
			 SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
	const int old = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
	int capability = 0;

	if (!(held & may_set_pcap))
		return 0;
	if (old < 0 || put_sets(held, may_set_pcap))
		return -1;
	while (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0)
		capability++;
	/* EINVAL: there are no more. */
	if (errno != EINVAL || capability <= CAP_SYS_ADMIN)
		return -1;
	return prctl(PR_SET_SECUREBITS, old | bits, 0, 0, 0);
}

static bool has_dropped(const struct caller *caller, uint32_t held)
{
	struct __user_cap_data_struct words[2];

	return is_caller(caller) && get_sets(words) == 0 &&
	       words[0].permitted == held && words[1].permitted == 0 &&
	       words[0].effective == 0 && words[1].effective == 0 &&
	       prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
	       prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 &&
	       /* It must be impossible, not merely undone. */
	       (caller->uid == 0 || setresuid((uid_t)-1, 0, (uid_t)-1) != 0);
}

int privilege_drop(const struct caller *caller)
{
	uint32_t held;

	if (get_held(&held) || become_caller(caller) || lock_bounds(held))
		return -1;
	/* An unknown caller gets an answer from a process without any. */
	held &= caller->known ? keep : 0;
	held &= ~(uint32_t)(caller->stays ? MAY_ENTER : 0);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) ||
	    put_sets(held, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return -1;
	if (!has_dropped(caller, held))
		return -1;
	kept = held;
	return 0;
}
