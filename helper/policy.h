/* SPDX-License-Identifier: MIT */
/*
 * Who may have what. Rules only allow, so their order means nothing; what
 * no rule allows is denied. Pure but for policy_file.c: no system call.
 */
#pragma once

#include <netinet/in.h>

#include "caller.h"
#include "request.h"

enum {
	POLICY_SIZE_MAX = 64 << 10,
	POLICY_LINE_MAX = 512, /* bytes, without the newline */
	POLICY_RULES_MAX = 256,
	POLICY_LIST_MAX = 8,	   /* values behind one key */
	POLICY_NAMESPACES_MAX = 16, /* different ones in a file */
	POLICY_PATH_SIZE = 64,
};

/* Why not, in the order of their numbers; REASON_NONE: allowed. */
enum reason {
	REASON_NONE, REASON_KIND, REASON_PROTOCOL, REASON_PORT, REASON_NAME,
	REASON_DEVICE, REASON_MARK, REASON_BUFFER, REASON_PRIORITY,
	REASON_NAMESPACE, REASON_EVERYBODY, REASON_FILE, REASON_ADDRESS,
	REASON_POLICY, REASON_INTERFACE, REASON_FILTER, REASON_LISTEN,
	REASON_LIMIT,
};

/* The words for kinds; a rule has one or more. */
enum word {
	WORD_PACKET = 1 << 0, WORD_ICMP = 1 << 1, WORD_ICMP6 = 1 << 2,
	WORD_RAW4 = 1 << 3, WORD_RAW6 = 1 << 4, WORD_TCP = 1 << 5,
	WORD_UDP = 1 << 6, WORD_TUN = 1 << 7, WORD_TAP = 1 << 8,
	WORD_DEVICE = 1 << 9,
};

enum who { WHO_ALL, WHO_UID, WHO_GID };

/* What a rule says beside who and which kinds. */
enum condition {
	HAS_PORT = 1 << 0, HAS_ADDRESS = 1 << 1, HAS_INTERFACE = 1 << 2,
	HAS_NAME = 1 << 3, HAS_PLACE = 1 << 4, HAS_PROTOCOL = 1 << 5,
	HAS_MARK = 1 << 6, HAS_PRIORITY = 1 << 7, HAS_BUFFER = 1 << 8,
	HAS_FILTER = 1 << 9, HAS_LISTEN = 1 << 10, HAS_LIMIT = 1 << 11,
	HAS_WHO = 1 << 12, HAS_DEVICE = 1 << 13,
};

/* Network namespaces: what a rule is about, and what a request is for. */
enum place { PLACE_HOST = 1 << 0, PLACE_OWN = 1 << 1, PLACE_NAMED = 1 << 2 };

struct range {
	uint32_t low, high;
};

/* A character device on the list. No path ever comes from outside. */
struct device {
	char name[DEVICE_SIZE];
	char path[POLICY_PATH_SIZE];
	uint32_t major, minor;
};

struct rule {
	enum who who;
	uint32_t id;
	uint32_t words, conditions;
	uint32_t line;
	struct range ports[POLICY_LIST_MAX];
	struct range protocols[POLICY_LIST_MAX];
	struct tun_address networks[POLICY_LIST_MAX];
	size_t port_count, protocol_count, network_count;
	char interface[INTERFACE_SIZE];
	char name[INTERFACE_SIZE];
	bool name_is_prefix;
	struct device device;
	uint32_t places; /* enum place */
	uint32_t namespaces; /* by bit, of policy.namespaces */
	struct range mark;
	uint32_t priority, buffer, limit;
};

/* A network namespace that rules name. `fd` keeps its number from another. */
struct namespace {
	char path[POLICY_PATH_SIZE];
	int fd; /* -1: not there */
	uint64_t device, inode;
};

enum policy_source { SOURCE_BUILT_IN, SOURCE_FILE, SOURCE_INVALID };

struct policy {
	enum policy_source source;
	const char *fault; /* of SOURCE_INVALID */
	uint32_t fault_line; /* 0: the file as a whole */
	size_t rule_count, namespace_count;
	struct rule rules[POLICY_RULES_MAX];
	struct namespace namespaces[POLICY_NAMESPACES_MAX];
	/* Of this session: the rules that are about its caller. */
	size_t own_count;
	uint16_t own[POLICY_RULES_MAX];
	uint32_t granted[POLICY_RULES_MAX][2]; /* [1]: KIND_ROUTE */
};

/* Where a request wants its socket. */
struct site {
	uint32_t places; /* enum place: all that it is */
	uint32_t namespaces; /* by bit, of policy.namespaces */
};

/* The one rule, or NULL: root's, or left to the kernel. */
struct verdict_of_policy {
	enum reason reason;
	const struct rule *rule;
	const struct device *device;
	bool first; /* grant of this rule in the session */
};

extern const struct device policy_tun;
extern const char policy_built_in[];

/* 0, or -1 with fault and line; then there is not one rule in it. */
MUST_CHECK int policy_parse(struct policy *policy, const char *text,
			    size_t size);

/* Parses the rules that hold where there is no file. */
void policy_use_built_in(struct policy *policy);

/* Nobody gets anything. */
void policy_refuse_all(struct policy *policy, uint32_t line,
		       const char *fault);

/* Begins a session: which rules are about this caller. */
void policy_begin(struct policy *policy, const struct caller *caller);

/*
 * The one decision. A request that is allowed is changed to what its rule
 * imposes; confine.c does the rest of it.
 */
MUST_CHECK struct verdict_of_policy policy_decide(struct policy *policy,
						  const struct caller *caller,
						  const struct site *site,
						  struct request *request);

/* From the file that is compiled in; with the rights to read it. */
void policy_load(struct policy *policy, struct caller *caller);

/* As policy_load(), of any file that lies below folders of root alone. */
void policy_load_from(struct policy *policy, const char *path);
