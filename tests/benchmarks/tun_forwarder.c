/* SPDX-License-Identifier: MIT */
/*
 * tun_forwarder NEAR FAR PACKETS: for each byte of standard input, passes that
 * many packets between two non-blocking descriptors, up to 64 per wakeup, and
 * says by a 64-bit number how many nanoseconds of processor time that took.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, LARGEST = 2048 };

static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* How many were passed; -1: not all that came could be. */
static int pass(int source, int target)
{
	static char packet[LARGEST];

	for (int done = 0; done < BATCH; done++) {
		ssize_t length = read(source, packet, sizeof(packet));

		if (length < 0)
			return errno == EAGAIN ? done : -1;
		if (write(target, packet, (size_t)length) != length)
			return -1;
	}
	return BATCH;
}

static int pass_all(struct pollfd *ends, long wanted)
{
	while (wanted > 0) {
		if (poll(ends, 2, -1) < 0)
			return -1;
		for (int end = 0; end < 2; end++) {
			int done = ends[end].revents == 0
					   ? 0
					   : pass(ends[end].fd, ends[1 - end].fd);

			if (done < 0)
				return -1;
			wanted -= done;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct pollfd ends[2] = {{.events = POLLIN}, {.events = POLLIN}};
	char go;

	if (argc != 4)
		return 2;
	ends[0].fd = atoi(argv[1]);
	ends[1].fd = atoi(argv[2]);
	while (read(STDIN_FILENO, &go, 1) == 1) {
		uint64_t began = cpu_ns(), took;

		if (pass_all(ends, atol(argv[3])) < 0)
			return 1;
		took = cpu_ns() - began;
		if (write(STDOUT_FILENO, &took, sizeof(took)) != sizeof(took))
			return 1;
	}
	return 0;
}
