/* SPDX-License-Identifier: MIT */
/*
 * The policy's file: only what root alone can have written is read, and any
 * doubt denies everything.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "policy.h"

#ifndef AIOPROCKET_POLICY
#define AIOPROCKET_POLICY "/etc/aioprocket/policy"
#endif

enum {
	FOLDER = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
	PIN = O_PATH | O_NOFOLLOW | O_CLOEXEC,
	/* A FIFO would make us wait, a terminal be ours. */
	CONTENT = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
	OTHERS_WRITE = S_IWGRP | S_IWOTH,
};

static bool is_roots(const struct stat *status)
{
	return status->st_uid == 0 && !(status->st_mode & OTHERS_WRITE);
}

/* Closes the parent; -1 with the errno of openat(2). */
static MUST_CHECK int descend(int parent, const char *name)
{
	const int folder = openat(parent, name, FOLDER);
	const int error = errno;

	close(parent);
	errno = error;
	return folder;
}

/* The folder that `path` lies in, each on the way root's alone; -1. */
static MUST_CHECK int open_parent(const char *path, const char **name,
				  const char **fault)
{
	char part[POLICY_PATH_SIZE];
	int folder = open("/", FOLDER);
	struct stat status;
	const char *slash;

	*fault = "a folder on its way is none, or a symbolic link";
	for (*name = path + 1; folder >= 0; *name = slash + 1) {
		if (fstat(folder, &status) || !is_roots(&status)) {
			*fault = "a folder on its way is not root's alone";
			close(folder);
			errno = EPERM;
			return -1;
		}
		slash = strchr(*name, '/');
		if (slash == NULL)
			return folder;
		memset(part, 0, sizeof(part));
		/* Too long a name: the empty one is nowhere. */
		if ((size_t)(slash - *name) < sizeof(part))
			memcpy(part, *name, (size_t)(slash - *name));
		folder = descend(folder, part);
	}
	return -1;
}

static const char *find_fault(const struct stat *file)
{
	if (!S_ISREG(file->st_mode))
		return "it is no regular file";
	if (file->st_uid != 0)
		return "it is not root's";
	if (file->st_mode & OTHERS_WRITE)
		return "others than root can write it";
	/* 0 where another has taken its place since it was opened. */
	if (file->st_nlink > 1)
		return "it has another name (hard link)";
	if (file->st_size > POLICY_SIZE_MAX)
		return "larger than 64 KiB";
	return NULL;
}

static bool is_unchanged(const struct stat *before, const struct stat *after)
{
	return before->st_size == after->st_size &&
	       before->st_mtim.tv_sec == after->st_mtim.tv_sec &&
	       before->st_mtim.tv_nsec == after->st_mtim.tv_nsec;
}

/* The whole file; its size, or -1. */
static MUST_CHECK ssize_t read_all(int file, char *text, size_t room)
{
	size_t size = 0;
	ssize_t some;

	while (size < room &&
	       (some = read(file, text + size, room - size)) != 0) {
		if (some < 0)
			return -1;
		size += (size_t)some;
	}
	return (ssize_t)size;
}

static void read_file(struct policy *policy, int file)
{
	static char text[POLICY_SIZE_MAX + 1];
	struct stat before, after;
	const char *fault = "it cannot be read";
	ssize_t size = -1;

	if (fstat(file, &before) == 0 && !(fault = find_fault(&before))) {
		fault = "it cannot be read";
		size = read_all(file, text, sizeof(text));
	}
	if (size < 0 || fstat(file, &after)) {
		policy_refuse_all(policy, 0, fault);
		return;
	}
	/* Written in place meanwhile, it may be half the old and half new. */
	if (!is_unchanged(&before, &after) || size != after.st_size) {
		policy_refuse_all(policy, 0, "it changed while it was read");
		return;
	}
	/* A fault is kept in the policy itself. */
	(void)!policy_parse(policy, text, (size_t)size);
}

/* In a folder that only root can change. */
static void load_in(struct policy *policy, int folder, const char *name)
{
	struct stat status;
	int file = -1;

	/* Before, for to open a device can do something. */
	if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW)) {
		if (errno == ENOENT)
			policy_use_built_in(policy);
		else
			policy_refuse_all(policy, 0, "it cannot be looked at");
		return;
	}
	if (S_ISREG(status.st_mode))
		file = openat(folder, name, CONTENT);
	if (file < 0) {
		policy_refuse_all(policy, 0, "it cannot be opened as a file");
		return;
	}
	read_file(policy, file);
	close(file);
}

void policy_load_from(struct policy *policy, const char *path)
{
	const char *fault, *name;
	const int folder = open_parent(path, &name, &fault);

	if (folder >= 0) {
		load_in(policy, folder, name);
		close(folder);
	} else if (errno == ENOENT) {
		policy_use_built_in(policy);
	} else {
		policy_refuse_all(policy, 0, fault);
	}
}

/* What is not there, or not root's alone, or no namespace, is none. */
static void pin(struct namespace *namespace)
{
	const char *fault, *name;
	const int folder = open_parent(namespace->path, &name, &fault);
	struct statfs system;
	struct stat status;

	if (folder < 0)
		return;
	/* Not opened in earnest: whatever it is, nothing happens to it. */
	namespace->fd = openat(folder, name, PIN);
	close(folder);
	if (namespace->fd < 0)
		return;
	if (fstatfs(namespace->fd, &system) || system.f_type != NSFS_MAGIC ||
	    fstat(namespace->fd, &status)) {
		close(namespace->fd);
		namespace->fd = -1;
		return;
	}
	namespace->device = status.st_dev;
	namespace->inode = status.st_ino;
}

void policy_load(struct policy *policy, struct caller *caller)
{
	uint32_t named = 0, places = 0;

	/* A plain helper has nothing to give that is not its caller's. */
	if (!caller->known || caller->mode == MODE_PLAIN)
		return;
	policy_load_from(policy, AIOPROCKET_POLICY);
	policy_begin(policy, caller);
	for (size_t i = 0; i < policy->own_count; i++) {
		named |= policy->rules[policy->own[i]].namespaces;
		places |= policy->rules[policy->own[i]].places;
	}
	caller->stays = (caller->uid != 0 || caller->mode == MODE_BROKER) &&
			!(places & (PLACE_OWN | PLACE_NAMED));
	for (size_t i = 0; i < policy->namespace_count; i++)
		if (named & 1U << i)
			pin(&policy->namespaces[i]);
}
