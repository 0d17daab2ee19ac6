/* SPDX-License-Identifier: MIT */
/*
 * The least that can count packets from a ring: TPACKET_V3, 64 blocks of 1 MiB,
 * 10 ms, one byte of every packet read.
 *
 * For every line INTERFACE of standard input: prints "ready" when it receives;
 * after SIGUSR1 prints received packets, packets that the kernel dropped, and
 * the nanoseconds of processor time that passed in between.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BLOCK = 1 << 20, BLOCKS = 64, FRAME = 2048, RETIRE_MS = 10 };

static volatile sig_atomic_t stopped;
static volatile unsigned char seen; /* so that the byte is read indeed */

static void stop(int number)
{
	(void)number;
	stopped = 1;
}

static unsigned long long cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return 1000ull * ((unsigned long long)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) *
				  1000000ull +
			  (unsigned long long)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec));
}

static unsigned char *open_ring(const char *interface, int *fd)
{
	int version = TPACKET_V3;
	struct tpacket_req3 request = {
		.tp_block_size = BLOCK,
		.tp_block_nr = BLOCKS,
		.tp_frame_size = FRAME,
		.tp_frame_nr = BLOCK / FRAME * BLOCKS,
		.tp_retire_blk_tov = RETIRE_MS,
	};
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(interface),
	};
	void *ring;

	*fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (*fd < 0 ||
	    setsockopt(*fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) != 0 ||
	    setsockopt(*fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)) != 0)
		return NULL;
	ring = mmap(NULL, (size_t)BLOCK * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		    *fd, 0);
	if (ring == MAP_FAILED ||
	    bind(*fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return NULL;
	return ring;
}

static unsigned int walk(struct tpacket_block_desc *block)
{
	const struct tpacket3_hdr *packet =
		(const void *)((const char *)block + block->hdr.bh1.offset_to_first_pkt);
	unsigned int count = block->hdr.bh1.num_pkts;

	for (unsigned int i = 0; i < count; i++) {
		seen = *((const unsigned char *)packet + packet->tp_mac);
		packet = (const void *)((const char *)packet + packet->tp_next_offset);
	}
	return count;
}

static unsigned long long receive(int fd, unsigned char *ring)
{
	unsigned long long received = 0;
	unsigned int next = 0;

	while (!stopped) {
		struct tpacket_block_desc *block = (void *)(ring + (size_t)next * BLOCK);
		struct pollfd readable = {.fd = fd, .events = POLLIN};

		if (!(__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) &
		      TP_STATUS_USER)) {
			poll(&readable, 1, 100);
			continue;
		}
		received += walk(block);
		__atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		next = (next + 1) % BLOCKS;
	}
	return received;
}

static int serve(const char *interface)
{
	struct tpacket_stats_v3 statistics = {0};
	socklen_t length = sizeof(statistics);
	unsigned long long began, received;
	int fd;
	unsigned char *ring = open_ring(interface, &fd);

	if (ring == NULL) {
		perror("ring_counter");
		return 1;
	}
	stopped = 0;
	began = cpu_ns();
	puts("ready");
	fflush(stdout);
	received = receive(fd, ring);
	began = cpu_ns() - began;
	getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &length);
	printf("%llu %u %llu\n", received, statistics.tp_drops, began);
	fflush(stdout);
	munmap(ring, (size_t)BLOCK * BLOCKS);
	close(fd);
	return 0;
}

int main(void)
{
	struct sigaction action = {.sa_handler = stop};
	char interface[IF_NAMESIZE + 1];

	sigaction(SIGUSR1, &action, NULL);
	while (fgets(interface, sizeof(interface), stdin) != NULL) {
		interface[strcspn(interface, "\n")] = '\0';
		if (serve(interface) != 0)
			return 1;
	}
	return 0;
}
