/* SPDX-License-Identifier: MIT */
/*
 * The text of a policy. Each line is a rule by itself, and whatever is not
 * understood makes the whole text invalid: a typing error must not widen.
 */
#include <string.h>

#include "policy_words.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The next word of the line; of size 0 at its end or at a comment. */
static struct span next_word(struct span *rest)
{
	struct span word;

	while (rest->size > 0 && is_blank(rest->at[0]))
		*rest = span_without(*rest, 1);
	word = (struct span){ rest->at, 0 };
	if (rest->size > 0 && rest->at[0] == '#')
		return word;
	while (word.size < rest->size && !is_blank(word.at[word.size]))
		word.size++;
	*rest = span_without(*rest, word.size);
	return word;
}

static int read_rule(struct line *line, struct span rest, uint32_t number)
{
	struct policy *policy = line->policy;
	struct span word;

	if (policy->rule_count == POLICY_RULES_MAX)
		return rule_fail(line, "more than 256 rules");
	line->rule = &policy->rules[policy->rule_count];
	memset(line->rule, 0, sizeof(*line->rule));
	line->rule->line = number;
	while ((word = next_word(&rest)).size > 0)
		if (rule_read_word(line, word))
			return -1;
	policy->rule_count++;
	return rule_check(line);
}

/* Printable ASCII: what a terminal or a log does not stumble over. */
static bool is_plain(struct span text)
{
	for (size_t i = 0; i < text.size; i++)
		if (text.at[i] != '\t' &&
		    !(text.at[i] >= ' ' && text.at[i] <= '~'))
			return false;
	return true;
}

static int read_line(struct line *line, struct span text, uint32_t number,
		     bool *versioned)
{
	struct span rest = text;
	struct span word;

	if (text.size > POLICY_LINE_MAX)
		return rule_fail(line, "longer than 512 bytes");
	if (!is_plain(text))
		return rule_fail(line, "a byte that is no printable ASCII");
	word = next_word(&rest);
	if (word.size == 0)
		return 0;
	if (!*versioned) {
		*versioned = span_is(word, "version") &&
			     span_is(next_word(&rest), "1") &&
			     next_word(&rest).size == 0;
		return *versioned ? 0 : rule_fail(line, "not \"version 1\"");
	}
	if (!span_is(word, "allow"))
		return rule_fail(line, "not \"allow\"");
	return read_rule(line, rest, number);
}

void policy_refuse_all(struct policy *policy, uint32_t line, const char *fault)
{
	policy->source = SOURCE_INVALID;
	policy->fault = fault;
	policy->fault_line = line;
	policy->rule_count = 0;
	policy->namespace_count = 0;
	policy->own_count = 0;
}

int policy_parse(struct policy *policy, const char *text, size_t size)
{
	struct line line = { .policy = policy };
	struct span rest = { text, size };
	bool versioned = false;
	uint32_t number = 0;

	policy_refuse_all(policy, 0, NULL);
	/* Cut off at its end, it might have said more. */
	if (size > POLICY_SIZE_MAX)
		line.fault = "larger than 64 KiB";
	else if (size > 0 && text[size - 1] != '\n')
		line.fault = "no newline at the end";
	while (line.fault == NULL && rest.size > 0)
		if (read_line(&line, span_split(&rest, '\n'), ++number,
			      &versioned))
			break;
	if (line.fault != NULL) {
		policy_refuse_all(policy, number, line.fault);
		return -1;
	}
	policy->source = SOURCE_FILE;
	return 0;
}
