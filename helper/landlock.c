/* SPDX-License-Identifier: MIT */
/* Files: none but devices and the network's settings. */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "caller.h"
#include "sandbox.h"

/*
 * The rights of the first version, which every later one has: sandbox.c stops
 * what came after it (truncate, other ioctls), so nobody need be asked.
 */
static const uint64_t all_rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
static const uint64_t use = LANDLOCK_ACCESS_FS_READ_FILE |
			    LANDLOCK_ACCESS_FS_WRITE_FILE;

/* What is not there now is not allowed later. */
static MUST_CHECK int allow(int rules, const char *path, uint64_t rights)
{
	const struct landlock_path_beneath_attr rule = {
		.allowed_access = rights,
		.parent_fd = open(path, O_PATH | O_CLOEXEC),
	};
	int failed;

	if (rule.parent_fd < 0)
		return 0;
	failed = (int)syscall(SYS_landlock_add_rule, rules,
			      LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(rule.parent_fd);
	return failed;
}

static MUST_CHECK int allow_devices(int rules, const struct policy *policy)
{
	for (size_t i = 0; i < policy->own_count; i++) {
		const struct rule *rule = &policy->rules[policy->own[i]];

		if (rule->words & WORD_DEVICE &&
		    allow(rules, rule->device.path, use))
			return -1;
	}
	return allow(rules, policy_tun.path, use);
}

int sandbox_files(const struct policy *policy, uint16_t *state)
{
	const struct landlock_ruleset_attr handled = {
		.handled_access_fs = all_rights,
	};
	const int rules = (int)syscall(SYS_landlock_create_ruleset, &handled,
				       sizeof(handled.handled_access_fs), 0);
	int failed;

	/* A kernel without, or one that was started without. */
	if (rules < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -1;
	/* Of every network namespace: this folder is one and the same. */
	failed = allow_devices(rules, policy) ||
		 allow(rules, "/proc/sys/net", LANDLOCK_ACCESS_FS_WRITE_FILE) ||
		 syscall(SYS_landlock_restrict_self, rules, 0);
	close(rules);
	if (failed)
		return -1;
	*state |= STATE_LANDLOCK;
	return 0;
}
