/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "audit.h"

enum {
	LINE_ROOM = 512,
	LINES_A_SECOND = 64,
	AUTHPRIV = 10 << 3, /* syslog(3) */
	WARNING = 4, NOTICE = 5, INFO = 6,
};

struct text {
	size_t size;
	char bytes[LINE_ROOM];
};

static const char *const kinds[] = {
	[KIND_NONE] = "none", [KIND_PACKET] = "packet",
	[KIND_PACKET_DGRAM] = "packet_dgram", [KIND_RAW4] = "raw4",
	[KIND_RAW6] = "raw6", [KIND_PING4] = "ping4", [KIND_PING6] = "ping6",
	[KIND_TCP4] = "tcp4", [KIND_TCP6] = "tcp6", [KIND_UDP4] = "udp4",
	[KIND_UDP6] = "udp6", [KIND_TUN] = "tun", [KIND_TAP] = "tap",
	[KIND_DEVICE] = "device", [KIND_ROUTE] = "route",
};

static const char *const modes[] = {
	[MODE_PLAIN] = "plain", [MODE_SETUID] = "setuid",
	[MODE_CAPABILITIES] = "capabilities", [MODE_SUDO] = "sudo",
	[MODE_BROKER] = "broker",
};

static const char *const reasons[] = {
	[REASON_NONE] = "none", [REASON_KIND] = "kind",
	[REASON_PROTOCOL] = "protocol", [REASON_PORT] = "port",
	[REASON_NAME] = "name", [REASON_DEVICE] = "device",
	[REASON_MARK] = "mark", [REASON_BUFFER] = "buffer",
	[REASON_PRIORITY] = "priority", [REASON_NAMESPACE] = "namespace",
	[REASON_EVERYBODY] = "everybody", [REASON_FILE] = "file",
	[REASON_ADDRESS] = "address", [REASON_POLICY] = "policy",
	[REASON_INTERFACE] = "interface", [REASON_FILTER] = "filter",
	[REASON_LISTEN] = "listen", [REASON_LIMIT] = "limit",
};

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || strchr(" ._-/:=[]<>,()\"*'", c);
}

/* What could begin another line, or move a terminal's cursor, is %xx. */
static void put(struct text *text, const char *string)
{
	static const char digits[] = "0123456789abcdef";

	for (; *string != '\0' && text->size + 3 < LINE_ROOM; string++) {
		const unsigned char byte = (unsigned char)*string;

		if (is_plain(*string)) {
			text->bytes[text->size++] = *string;
			continue;
		}
		text->bytes[text->size++] = '%';
		text->bytes[text->size++] = digits[byte >> 4];
		text->bytes[text->size++] = digits[byte & 15];
	}
}

static void put_number(struct text *text, const char *key, uint32_t number)
{
	char decimal[sizeof("4294967295")];
	char *at = decimal + sizeof(decimal) - 1;

	*at = '\0';
	do
		*--at = (char)('0' + number % 10);
	while ((number /= 10) != 0);
	put(text, key);
	put(text, at);
}

static void put_string(struct text *text, const char *key, const char *string)
{
	put(text, key);
	put(text, string);
}

static struct text begin(const struct caller *caller, int level)
{
	struct text text = { .size = 0 };

	put_number(&text, "<", (uint32_t)(AUTHPRIV | level));
	put_number(&text, ">aioprocket-helper[", (uint32_t)getpid());
	put_number(&text, "]: uid=", caller->uid);
	put_number(&text, " pid=", (uint32_t)caller->pid);
	put_string(&text, " mode=", modes[caller->mode]);
	return text;
}

/* By name each time: the log's daemon may have been started anew. */
static void send_line(struct audit *audit, const struct text *text)
{
	const struct sockaddr_un log = { AF_UNIX, "/dev/log" };

	if (sendto(audit->socket, text->bytes, text->size,
		   MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&log,
		   sizeof(log)) < 0)
		audit->withheld++;
	else
		audit->withheld = 0;
}

void audit_begin(struct audit *audit, const struct caller *caller,
		 const struct policy *policy)
{
	struct text text;

	*audit = (struct audit){ .socket = -1 };
	/* A plain helper decides nothing. */
	if (!caller->known || caller->mode == MODE_PLAIN)
		return;
	audit->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (audit->socket < 0 || policy->source != SOURCE_INVALID)
		return;
	text = begin(caller, WARNING);
	put(&text, " nobody gets anything: the policy is invalid");
	if (policy->fault_line > 0)
		put_number(&text, ", line ", policy->fault_line);
	put_string(&text, ": ", policy->fault);
	send_line(audit, &text);
}

static void put_address(struct text *text, const struct request *request)
{
	const int family = request_is_ipv4(request) ? AF_INET : AF_INET6;
	char address[INET6_ADDRSTRLEN];

	if (inet_ntop(family, request->address, address, sizeof(address)))
		put_string(text, " addr=", address);
}

static void put_request(struct text *text, const struct request *request)
{
	put_string(text, " kind=", kinds[request->kind]);
	if (request->kind == KIND_RAW4 || request->kind == KIND_RAW6)
		put_number(text, " proto=", request->protocol);
	if (request->flags & FLAG_PORT)
		put_number(text, " port=", request->port);
	if (request->flags & FLAG_ADDRESS)
		put_address(text, request);
	if (request->flags & FLAG_INTERFACE)
		put_string(text, " if=", request->interface);
	if (request->flags & FLAG_DEVICE)
		put_string(text, " device=", request->device);
	if (request->flags & FLAG_NAMESPACE)
		put(text, " netns");
	if (request->flags & FLAG_MARK)
		put_number(text, " mark=", request->mark);
	if (request->flags & FLAG_LOCK)
		put(text, " locked");
}

/* So that nobody floods the log. */
static bool may_write(struct audit *audit)
{
	struct timespec now;

	/* A clock that says nothing counts on. */
	if (clock_gettime(CLOCK_MONOTONIC, &now) == 0 &&
	    now.tv_sec != audit->second) {
		audit->second = now.tv_sec;
		audit->lines = 0;
	}
	if (audit->lines == LINES_A_SECOND) {
		audit->withheld++;
		return false;
	}
	audit->lines++;
	return true;
}

void audit_decision(struct audit *audit, const struct caller *caller,
		    const struct request *request,
		    const struct verdict_of_policy *verdict)
{
	const bool granted = verdict->reason == REASON_NONE;
	struct text text;

	if (audit->socket < 0 || !may_write(audit))
		return;
	text = begin(caller, granted ? INFO : NOTICE);
	put(&text, granted ? " granted" : " denied");
	if (!granted)
		put_string(&text, " reason=", reasons[verdict->reason]);
	put_request(&text, request);
	if (granted && verdict->rule != NULL)
		put_number(&text, " line=", verdict->rule->line);
	if (audit->withheld > 0)
		put_number(&text, " lines-withheld=", audit->withheld);
	send_line(audit, &text);
}
