/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "confine.h"
#include "filter.h"

enum { SETTLE_NANOSECONDS = 30000000 };

static MUST_CHECK int set(struct job *job, int option, int value)
{
	return setsockopt(job->fd, SOL_SOCKET, option, &value, sizeof(value));
}

/* Returns the number of instructions. */
static size_t write_filter(const struct job *job, struct sock_filter *code)
{
	const struct request *request = &job->request;
	const size_t count = confine_write(request, job->rule,
					   job->reply.ifindex, code);

	memcpy(code + count, request->filter,
	       request->filter_count * sizeof(code[0]));
	return count + request->filter_count;
}

static MUST_CHECK int attach(struct job *job, struct sock_filter *code,
			     size_t count)
{
	const struct sock_fprog program = {
		.len = (unsigned short)count,
		.filter = code,
	};

	if (setsockopt(job->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program,
		       sizeof(program)))
		return open_fail(job, STAGE_FILTER);
	return 0;
}

int filter_drop_all(struct job *job)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);

	return attach(job, &nothing, 1);
}

/*
 * A packet that came before the filter may still be on its way to the queue,
 * on another processor. When membarrier(2) returns, it has arrived: some 15 ms.
 * Where there is none (nohz_full), the same time twice is all that can be done.
 */
static MUST_CHECK int settle(void)
{
	struct timespec left = { .tv_nsec = SETTLE_NANOSECONDS };

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS && errno != EPERM)
		return -1;
	while (nanosleep(&left, &left))
		if (errno != EINTR)
			return -1;
	return 0;
}

int filter_drain(struct job *job)
{
	char byte;

	if (settle())
		return open_fail(job, STAGE_FILTER);
	/* Ends, because nothing gets past the filter any more. */
	while (recv(job->fd, &byte, sizeof(byte), MSG_DONTWAIT) >= 0)
		continue;
	return errno == EAGAIN ? 0 : open_fail(job, STAGE_FILTER);
}

/* In place of one that is there, without a moment of none. */
static MUST_CHECK int attach_filter(struct job *job)
{
	struct sock_filter code[CONFINE_MAX + BPF_MAXINSNS];
	const size_t count = write_filter(job, code);

	return count > 0 ? attach(job, code, count) : 0;
}

int filter_set(struct job *job)
{
	if (job->request.flags & (FLAG_FILTER | FLAG_LOCK) &&
	    attach_filter(job))
		return -1;
	if (job->request.flags & FLAG_LOCK &&
	    set(job, SO_LOCK_FILTER, 1))
		return open_fail(job, STAGE_FILTER);
	return 0;
}

int filter_replace(struct job *job)
{
	if (job->request.flags & (FLAG_FILTER | FLAG_LOCK))
		return filter_set(job);
	if (set(job, SO_DETACH_FILTER, 0))
		return open_fail(job, STAGE_FILTER);
	return 0;
}
