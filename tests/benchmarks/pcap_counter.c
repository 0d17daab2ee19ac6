/* SPDX-License-Identifier: MIT */
/*
 * A counter on libpcap: pcap_loop, 64 MiB, snapshots of 2,048 bytes, 10 ms, one
 * byte of every packet read. Spoken to as ring_counter.c is.
 */
#include <net/if.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { BUFFER = 64 << 20, SNAPLEN = 2048, TIMEOUT_MS = 10 };

static pcap_t *capture;
static volatile unsigned char seen;

static void stop(int number)
{
	(void)number;
	if (capture != NULL)
		pcap_breakloop(capture);
}

static unsigned long long cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return 1000ull * ((unsigned long long)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) *
				  1000000ull +
			  (unsigned long long)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec));
}

static void count(unsigned char *user, const struct pcap_pkthdr *header, const unsigned char *data)
{
	(void)header;
	seen = data[0];
	++*(unsigned long long *)(void *)user;
}

static pcap_t *open_capture(const char *interface)
{
	char error[PCAP_ERRBUF_SIZE];
	pcap_t *opened = pcap_create(interface, error);

	if (opened == NULL || pcap_set_snaplen(opened, SNAPLEN) != 0 ||
	    pcap_set_buffer_size(opened, BUFFER) != 0 ||
	    pcap_set_timeout(opened, TIMEOUT_MS) != 0 || pcap_activate(opened) != 0)
		return NULL;
	return opened;
}

static int serve(const char *interface)
{
	struct pcap_stat statistics = {0};
	unsigned long long received = 0;
	unsigned long long began;

	capture = open_capture(interface);
	if (capture == NULL) {
		fprintf(stderr, "pcap_counter: %s cannot be captured\n", interface);
		return 1;
	}
	began = cpu_ns();
	puts("ready");
	fflush(stdout);
	pcap_loop(capture, -1, count, (unsigned char *)&received);
	began = cpu_ns() - began;
	pcap_stats(capture, &statistics);
	printf("%llu %u %llu\n", received, statistics.ps_drop, began);
	fflush(stdout);
	pcap_close(capture);
	capture = NULL;
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
