/* SPDX-License-Identifier: MIT */
#include <grp.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "privilege.h"

static const uint64_t keep = MAY_BIND_LOW | MAY_ADMIN | MAY_RAW | MAY_ENTER;
static const uint64_t may_set_pcap = 1 << CAP_SETPCAP;

/* The sets of capget(2). Nothing is ever inheritable. */
struct sets {
	uint64_t permitted;
	uint64_t effective;
};

static struct __user_cap_header_struct this_process(void)
{
	return (struct __user_cap_header_struct){
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
}

static MUST_CHECK int get_sets(struct sets *sets)
{
	struct __user_cap_header_struct header = this_process();
	struct __user_cap_data_struct words[2];

	if (syscall(SYS_capget, &header, words))
		return -1;
	sets->permitted = words[0].permitted |
			  (uint64_t)words[1].permitted << 32;
	sets->effective = words[0].effective |
			  (uint64_t)words[1].effective << 32;
	return 0;
}

static MUST_CHECK int put_sets(struct sets sets)
{
	struct __user_cap_header_struct header = this_process();
	const struct __user_cap_data_struct words[2] = {
		{
			.permitted = (uint32_t)(sets.permitted & 0xFFFFFFFF),
			.effective = (uint32_t)(sets.effective & 0xFFFFFFFF),
		},
		{
			.permitted = (uint32_t)(sets.permitted >> 32),
			.effective = (uint32_t)(sets.effective >> 32),
		},
	};

	return syscall(SYS_capset, &header, words) ? -1 : 0;
}

int privilege_held(uint64_t *held)
{
	struct sets sets;

	if (get_sets(&sets))
		return -1;
	*held = sets.permitted;
	return 0;
}

int privilege_raise(uint64_t wanted)
{
	struct sets sets;

	if (get_sets(&sets))
		return -1;
	sets.effective = sets.permitted & wanted;
	return put_sets(sets);
}

int privilege_lower(void)
{
	return privilege_raise(0);
}

static MUST_CHECK int is_caller(const struct caller *caller)
{
	uid_t real, effective, saved;
	gid_t real_group, effective_group, saved_group;

	if (getresuid(&real, &effective, &saved) ||
	    getresgid(&real_group, &effective_group, &saved_group))
		return -1;
	return real == caller->uid && effective == caller->uid &&
	       saved == caller->uid && real_group == caller->gid &&
	       effective_group == caller->gid && saved_group == caller->gid;
}

static MUST_CHECK int become_caller(const struct caller *caller)
{
	const int done = is_caller(caller);

	/* An id that a user namespace does not map cannot even be kept. */
	if (done != 0)
		return done == 1 ? 0 : -1;
	/* setuid leaves the caller's groups in place; sudo brought root's. */
	if (getuid() != caller->uid && setgroups(0, NULL))
		return -1;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) ||
	    setresgid(caller->gid, caller->gid, caller->gid) ||
	    setresuid(caller->uid, caller->uid, caller->uid) ||
	    prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0))
		return -1;
	return 0;
}

/*
 * What stands between us and regaining a capability by exec. Without
 * CAP_SETPCAP (file capabilities, no privilege at all) neither is possible,
 * and no_new_privs alone stands there.
 */
static MUST_CHECK int close_ways_back(struct sets sets)
{
	const int locked =
		SECBIT_NOROOT | SECBIT_NOROOT_LOCKED |
		SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
		SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
		SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

	if (!(sets.permitted & may_set_pcap))
		return 0;
	sets.effective = may_set_pcap;
	if (put_sets(sets))
		return -1;
	/* PR_CAPBSET_READ fails beyond the kernel's last capability. */
	for (unsigned long capability = 0;
	     prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0))
			return -1;
	const int old = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);

	if (old < 0)
		return -1;
	return prctl(PR_SET_SECUREBITS, old | locked, 0, 0, 0) ? -1 : 0;
}

static MUST_CHECK int verify(const struct caller *caller, uint64_t permitted)
{
	struct sets sets;

	if (is_caller(caller) != 1 || get_sets(&sets))
		return -1;
	if (sets.permitted != permitted || sets.effective != 0)
		return -1;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 ||
	    prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return -1;
	/* It must be impossible, not merely undone. */
	if (caller->uid != 0 && setresuid((uid_t)-1, 0, (uid_t)-1) == 0)
		return -1;
	return 0;
}

int privilege_drop(const struct caller *caller)
{
	struct sets sets;

	if (get_sets(&sets))
		return -1;
	if (become_caller(caller) || close_ways_back(sets))
		return -1;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		return -1;
	/* A caller whom we do not know is answered, with nothing in hand. */
	sets.permitted &= caller->known ? keep : 0;
	sets.effective = 0;
	if (put_sets(sets))
		return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return -1;
	return verify(caller, sets.permitted);
}
