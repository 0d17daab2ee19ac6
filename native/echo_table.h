/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_ECHO_TABLE_H
#define AIOPROCKET_ECHO_TABLE_H

#include "echo.h"
#include "echo_group.h"
#include "echo_watch.h"
#include "module.h"

#include <sys/socket.h>

enum {
	ECHO_HEADER = 8,
	ECHO_SEQUENCES = 1 << 16,
	ECHO_MOST = ECHO_SEQUENCES / 2,	/* probes in flight */
	/* An error with its quotation, beside what a reply takes. */
	ECHO_MESSAGE_ROOM = 2048,
};

enum echo_state { ECHO_FREE, ECHO_FLYING, ECHO_ANSWERED, ECHO_ENDED };

/* Where the numbers come from by which timestamps name their requests. */
enum echo_numbers { NUMBERS_UNKNOWN, NUMBERS_CHOSEN, NUMBERS_COUNTED };

/* Where a probe goes. */
struct echo_target {
	PyObject *host;		/* borrowed; NULL: by its address */
	struct echo_watch *watch;	/* borrowed; NULL: nobody watches it */
	unsigned char address[ECHO_ADDRESS];
	uint32_t scope;
	uint32_t sequence;
};

/* Room for what asks for a request's timestamp, and for its number. */
union echo_asking {
	struct cmsghdr alignment;
	char room[2 * CMSG_SPACE(sizeof(uint32_t))];
};

/* The length of a built request, and its address for the system call. */
struct echo_message {
	size_t length;
	void *address;
	socklen_t room;
};

/*
 * The kernel's number of the probe that waits for its timestamp: from low to
 * high, for what it refused may have been counted.
 */
struct echo_count {
	uint32_t low;
	uint32_t high;
	uint64_t serial;
	bool waits;
};

/* A slot of the table: a probe, also for a while after its end. */
struct echo_probe {
	uint64_t serial;
	int64_t sent_ns;		/* by the clock */
	int64_t sent_monotonic;
	int64_t stamped_ns;		/* by the kernel; 0: not known */
	PyObject *host;			/* while it flies, */
	struct echo_watch *watch;	/* and so this; NULL: nobody watches */
	struct echo_group *group;	/* until it is ended */
	unsigned char address[ECHO_ADDRESS];
	uint32_t scope;
	uint32_t sequence;
	int32_t older;			/* in its group, while it flies */
	int32_t newer;
	int32_t spread_ns;		/* it may have left so much earlier */
	uint8_t state;
	bool asked;			/* for a timestamp */
};

/* What a message is to be judged by, besides its bytes. */
struct echo_arrival {
	const unsigned char *source;
	int64_t received_ns;		/* 0: not known */
	int64_t now_ns;			/* when it is judged, by both clocks */
	int64_t monotonic_ns;
	int ttl;
};

struct echo_table {
	PyObject_HEAD
	struct module_state *state;
	struct echo_probe *probes;	/* by the lower bits of the serial */
	uint32_t capacity;		/* a power of two */
	int32_t in_flight;
	uint64_t first;
	uint64_t next;
	uint64_t key[2];
	unsigned char *request;		/* the message being built */
	size_t request_room;
	uint64_t built_for;	/* the number of the group whose filling it has */
	uint64_t groups;
	uint16_t identifier;
	uint8_t version;
	bool unchecked;
	bool reporting;		/* ICMP errors come by the error queue */
	bool brief;		/* requests have gone without a whole cookie */
	uint8_t numbers;
	struct echo_count counted;
	uint32_t awaited;	/* probes in flight without their timestamp */
	int64_t usual_step;	/* nanoseconds for a probe of a burst; 0: none */
	int failure;			/* errno of the last system call */
	size_t largest;			/* of the replies to expect */
	PyObject *odd;			/* lists of what is for Python: messages, */
	PyObject *reports;		/* and entries of the error queue */
	unsigned long long foreign, spoofed, duplicate, late, corrupted;
};

static inline size_t
echo_address_length(const struct echo_table *table)
{
	return table->version == 4 ? 4 : ECHO_ADDRESS;
}

struct echo_probe *echo_begin(struct echo_table *table,
			      struct echo_group *group,
			      const struct echo_target *target);
struct echo_probe *echo_find(const struct echo_table *table, uint64_t serial);
struct echo_probe *echo_find_sequence(const struct echo_table *table,
				      uint16_t sequence);
void echo_end(struct echo_table *table, struct echo_probe *probe,
	      enum echo_state state);
struct echo *echo_of(const struct echo_table *table,
		     const struct echo_probe *probe);
void echo_stamp(struct echo_table *table, struct echo_probe *probe,
		int64_t stamped_ns);
int echo_deliver(struct echo_group *group, struct echo *echo);
int echo_conclude(struct echo_table *table, struct echo_probe *probe,
		  struct echo *echo, enum echo_state state);
void echo_renew(struct echo_table *table, struct echo_probe *probe,
		int64_t monotonic_ns);
int echo_expire(struct echo_table *table, struct echo_group *group,
		int64_t monotonic_ns);
void echo_table_clear(struct echo_table *table);

void echo_cookie(const struct echo_table *table, uint64_t serial,
		 const unsigned char *address, unsigned char *cookie);
size_t echo_request(struct echo_table *table, const struct echo_probe *probe);

int echo_judge(struct echo_table *table, const unsigned char *message,
	       size_t length, const struct echo_arrival *arrival);
int echo_judge_error(struct echo_table *table, const unsigned char *target,
		     const unsigned char *quoted, size_t length,
		     PyObject *error, int64_t received_ns);

/* echo_stamp.c */
void echo_ask(struct msghdr *header, union echo_asking *asking,
	      const struct echo_probe *probe, bool named);
ssize_t echo_send_asking(struct echo_table *table, int fd,
			 struct echo_probe *probe,
			 const struct echo_message *message);
int echo_read_entries(struct echo_table *table, int fd, unsigned int most);
int echo_read_stamps(struct echo_table *table, int fd);

/* How many messages came, most at most; -1 with errno. */
int echo_fetch(int fd, struct mmsghdr *messages, unsigned int most, int flags);
int echo_send_burst(struct echo_table *table, int fd, struct echo_group *group,
		    PyObject *items, Py_ssize_t start, uint32_t sequence);

/* Methods of EchoTable that make system calls. */
PyObject *echo_send(PyObject *op, PyObject *args);
PyObject *echo_exchange(PyObject *op, PyObject *args);
PyObject *echo_receive(PyObject *op, PyObject *argument);
PyObject *echo_read_queue(PyObject *op, PyObject *argument);

int echo_read_item(const struct echo_table *table,
		   const struct echo_group *group, PyObject *item,
		   struct echo_target *target);

extern PyType_Spec echo_table_spec;
extern const char echo_send_doc[];
extern const char echo_exchange_doc[];
extern const char echo_receive_doc[];
extern const char echo_read_queue_doc[];

#endif
