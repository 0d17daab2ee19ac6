/* SPDX-License-Identifier: MIT */
/*
 * spreader INTERFACES SECONDS SIZE PER_SECOND: sends the same frame out of each
 * of the comma-separated interfaces in turn, 64 by each system call, at most
 * PER_SECOND of them in all (0: as fast as it goes), and prints how many were
 * taken.
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, LARGEST = 1514 };

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int resolve(char *names, struct sockaddr_ll *addresses)
{
	int count = 0;

	for (char *name = strtok(names, ","); name != NULL; name = strtok(NULL, ",")) {
		int ifindex = (int)if_nametoindex(name);

		if (count == BATCH || ifindex == 0)
			return 0;
		addresses[count++] =
			(struct sockaddr_ll){.sll_family = AF_PACKET, .sll_ifindex = ifindex};
	}
	return count;
}

static long flood(int fd, double seconds, struct mmsghdr *batch, double rate)
{
	double start = now();
	double passed = 0;
	long sent = 0;

	while (passed < seconds) {
		if (rate <= 0 || (double)(sent + BATCH) <= passed * rate) {
			int taken = sendmmsg(fd, batch, BATCH, 0);

			if (taken < 0 && errno != ENOBUFS)
				return -1;
			sent += taken > 0 ? taken : 0;
		}
		passed = now() - start;
	}
	return sent;
}

int main(int argc, char **argv)
{
	static unsigned char frame[LARGEST] = {2, 0, 0, 0, 0xfe, 0xfe, 2, 0, 0, 0, 0xfe,
					       0xfe, 0x88, 0xb5};
	struct sockaddr_ll addresses[BATCH];
	struct mmsghdr batch[BATCH] = {0};
	struct iovec text = {frame, 0};
	int bypass = 1;
	int count, fd;
	long sent;

	if (argc != 5)
		return 2;
	count = resolve(argv[1], addresses);
	text.iov_len = strtoul(argv[3], NULL, 10);
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (count == 0 || fd < 0 || text.iov_len > LARGEST)
		return 2;
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof(bypass));
	for (int i = 0; i < BATCH; i++) {
		batch[i].msg_hdr = (struct msghdr){
			.msg_iov = &text,
			.msg_iovlen = 1,
			.msg_name = &addresses[i % count],
			.msg_namelen = sizeof(addresses[0]),
		};
	}
	sent = flood(fd, strtod(argv[2], NULL), batch, strtod(argv[4], NULL));
	printf("%ld\n", sent);
	return sent < 0;
}
