/* SPDX-License-Identifier: MIT */
/*
 * datagram_counter udp|icmp PORT SECONDS BUFFER [wait]: receives what the
 * generator sends, up to 64 per system call, with the time that the kernel
 * gives each, and prints how many came and the processor's nanoseconds for all
 * of them. With wait, it begins when there is a line on standard input.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, LARGEST = 2048, CONTROL = 256 };

static struct mmsghdr batch[BATCH];
static struct iovec texts[BATCH];
static struct sockaddr_in names[BATCH];
static char data[BATCH][LARGEST];
static char control[BATCH][CONTROL];

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e9 +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e3;
}

static int open_socket(int icmp, const char *port, int buffer)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = icmp ? 0 : htons((unsigned short)atoi(port)),
	};
	int fd = icmp ? socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) : socket(AF_INET, SOCK_DGRAM, 0);
	int on = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
	setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
	return fd;
}

static int receive(int fd)
{
	for (int i = 0; i < BATCH; i++) {
		texts[i] = (struct iovec){data[i], LARGEST};
		batch[i].msg_hdr = (struct msghdr){
			.msg_name = &names[i],
			.msg_namelen = sizeof(names[i]),
			.msg_iov = &texts[i],
			.msg_iovlen = 1,
			.msg_control = control[i],
			.msg_controllen = CONTROL,
		};
	}
	return recvmmsg(fd, batch, BATCH, MSG_DONTWAIT, NULL);
}

int main(int argc, char **argv)
{
	struct pollfd readable = {.events = POLLIN};
	long received = 0;
	double began, ends;

	if (argc != 5 && argc != 6)
		return 2;
	readable.fd = open_socket(strcmp(argv[1], "icmp") == 0, argv[2], atoi(argv[4]));
	if (readable.fd < 0)
		return 2;
	puts("ready");
	fflush(stdout);
	if (argc == 6 && getchar() == EOF)
		return 2;
	began = cpu_ns();
	ends = now() + atof(argv[3]);
	while (now() < ends) {
		if (poll(&readable, 1, 10) == 1) {
			int came = receive(readable.fd);

			received += came > 0 ? came : 0;
		}
	}
	printf("%ld %.0f\n", received, cpu_ns() - began);
	return 0;
}
