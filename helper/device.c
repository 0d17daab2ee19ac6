/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "device.h"

static bool is_node(const struct stat *node, const struct device *device)
{
	return S_ISCHR(node->st_mode) &&
	       node->st_rdev == makedev(device->major, device->minor);
}

int device_open(struct job *job, const struct device *device)
{
	const int flags = O_RDWR | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW |
			  O_CLOEXEC;
	struct stat node;

	/* Before, too: to open a wrong device could do something. */
	if (lstat(device->path, &node))
		return open_fail(job, STAGE_DEVICE);
	if (!is_node(&node, device))
		return reply_fail(&job->reply, STAGE_DEVICE, ENODEV);
	job->fd = open(device->path, flags);
	if (job->fd < 0)
		return open_fail(job, STAGE_DEVICE);
	if (fstat(job->fd, &node) || !is_node(&node, device))
		return reply_fail(&job->reply, STAGE_VERIFY, EPROTO);
	return 0;
}

int impl_device(struct job *job)
{
	return device_open(job, job->device);
}
