/* SPDX-License-Identifier: MIT */
/*
 * genxdp INTERFACE SECONDS SIZE PER_SECOND: has the kernel receive the same
 * frame on an interface, evenly spaced (PER_SECOND 0: as fast as it goes), and
 * prints how many it received. No transmit side is involved
 * (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18). The frame is for a station that
 * nobody is, so that packet sockets alone see it: IPv4 and UDP, because
 * receivers that dissect should find what they find in life.
 *
 * One call of the kernel costs tens of milliseconds to set up, so there is one,
 * and the program that the frames pass keeps the time and the count: it drops
 * those that come too early.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64 /* what a driver hands over at once */, LARGEST = 1514 };

/* The one value of the map, shared with the program. */
struct pace {
	uint64_t due; /* CLOCK_MONOTONIC, ns */
	uint64_t step; /* ns; 0: no pace */
	uint64_t passed;
};

static int bpf(int command, union bpf_attr *attributes)
{
	return (int)syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

static struct pace *make_map(int *map)
{
	union bpf_attr attributes = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = sizeof(uint32_t),
		.value_size = sizeof(struct pace),
		.max_entries = 1,
		.map_flags = BPF_F_MMAPABLE,
	};
	void *shared;

	*map = bpf(BPF_MAP_CREATE, &attributes);
	if (*map < 0)
		return NULL;
	shared = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED,
		      *map, 0);
	return shared == MAP_FAILED ? NULL : shared;
}

#define LOAD(to, from, field)                                                                      \
	{.code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = (to), .src_reg = (from),                   \
	 .off = offsetof(struct pace, field)}
#define STORE(to, field, from)                                                                     \
	{.code = BPF_STX | BPF_MEM | BPF_DW, .dst_reg = (to), .src_reg = (from),                   \
	 .off = offsetof(struct pace, field)}
#define ANSWER(verdict) {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = (verdict)}
#define EXIT {.code = BPF_JMP | BPF_EXIT}

static int load_program(int map)
{
	const struct bpf_insn program[] = {
		{.code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = BPF_REG_6,
		 .src_reg = BPF_PSEUDO_MAP_VALUE, .imm = map},
		{0}, /* its second half */
		LOAD(BPF_REG_7, BPF_REG_6, step),
		{.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_7, .off = 5},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_ktime_get_ns},
		LOAD(BPF_REG_1, BPF_REG_6, due),
		{.code = BPF_JMP | BPF_JLT | BPF_X, .dst_reg = BPF_REG_0, .src_reg = BPF_REG_1,
		 .off = 7},
		{.code = BPF_ALU64 | BPF_ADD | BPF_X, .dst_reg = BPF_REG_1, .src_reg = BPF_REG_7},
		STORE(BPF_REG_6, due, BPF_REG_1),
		LOAD(BPF_REG_1, BPF_REG_6, passed),
		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_1, .imm = 1},
		STORE(BPF_REG_6, passed, BPF_REG_1),
		ANSWER(XDP_PASS),
		EXIT,
		ANSWER(XDP_DROP),
		EXIT,
	};
	union bpf_attr attributes = {
		.prog_type = BPF_PROG_TYPE_XDP,
		.insns = (uintptr_t)program,
		.insn_cnt = sizeof(program) / sizeof(program[0]),
		.license = (uintptr_t) "Dual MIT/GPL",
	};

	return bpf(BPF_PROG_LOAD, &attributes);
}

static void interrupt(int number)
{
	(void)number;
}

static void fill(unsigned char *frame, unsigned int size)
{
	static const unsigned char headers[] = {
		2, 0, 0, 0, 0xfe, 0xfe, 2, 0, 0, 0, 0xfe, 0xfe, 8, 0, /* Ethernet */
		0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, /* IPv4, 17: UDP */
		198, 18, 0, 1, 198, 18, 0, 2, /* for benchmarks: RFC 2544 */
		0x30, 0x39, 0, 9, 0, 0, 0, 0, /* from 12345 to discard */
	};

	memset(frame, 0, LARGEST);
	memcpy(frame, headers, sizeof(headers));
	frame[16] = (unsigned char)((size - 14) >> 8);
	frame[17] = (unsigned char)(size - 14);
	frame[38] = (unsigned char)((size - 34) >> 8);
	frame[39] = (unsigned char)(size - 34);
}

/* Only a signal ends the call. */
static int receive(int program, unsigned int ifindex, unsigned int size, double seconds)
{
	unsigned char frame[LARGEST];
	struct xdp_md context = {.data_end = size, .ingress_ifindex = ifindex};
	union bpf_attr attributes = {
		.test = {
			.prog_fd = (uint32_t)program,
			.data_in = (uintptr_t)frame,
			.data_size_in = size,
			.ctx_in = (uintptr_t)&context,
			.ctx_size_in = sizeof(context),
			.repeat = INT32_MAX,
			.flags = BPF_F_TEST_XDP_LIVE_FRAMES,
			.batch_size = BATCH,
		},
	};
	struct sigaction action = {.sa_handler = interrupt};
	struct itimerval timer = {
		.it_value = {.tv_sec = (time_t)seconds,
			     .tv_usec = (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)},
	};

	fill(frame, size);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	return bpf(BPF_PROG_TEST_RUN, &attributes) == 0 || errno == EINTR ? 0 : -1;
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int main(int argc, char **argv)
{
	double rate;
	struct pace *pace;
	unsigned int ifindex;
	unsigned long size;
	int map, program;

	if (argc != 5)
		return 2;
	ifindex = if_nametoindex(argv[1]);
	size = strtoul(argv[3], NULL, 10);
	rate = strtod(argv[4], NULL);
	if (ifindex == 0 || size < 42 || size > LARGEST)
		return 2;
	pace = make_map(&map);
	program = pace != NULL ? load_program(map) : -1;
	if (program < 0) {
		perror("genxdp: the program cannot be loaded");
		return 1;
	}
	pace->step = rate > 0 ? (uint64_t)(1e9 / rate) : 0;
	pace->due = now();
	if (receive(program, ifindex, (unsigned int)size, strtod(argv[2], NULL)) != 0) {
		perror("genxdp: BPF_PROG_TEST_RUN");
		return 1;
	}
	printf("%llu\n", (unsigned long long)pace->passed);
	return 0;
}
