/* The status as a table and as JSON. */
#include <stdio.h>
#include <string.h>

#include "admin/postern/status.h"
#include "base/attr.h"
#include "base/json.h"
#include "log/count.h"

/* "3d 04h", "2h 05m", "7m 03s" */
static const char *span(uint64_t s, char text[32])
{
	if (s >= 86400)
		(void)snprintf(text, 32, "%llud %02lluh", (unsigned long long)(s / 86400), (unsigned long long)(s / 3600 % 24));
	else if (s >= 3600)
		(void)snprintf(text, 32, "%lluh %02llum", (unsigned long long)(s / 3600), (unsigned long long)(s / 60 % 60));
	else
		(void)snprintf(text, 32, "%llum %02llus", (unsigned long long)(s / 60), (unsigned long long)(s % 60));
	return text;
}

static void print_processes(const struct status *s)
{
	char up[32];
	uint64_t bytes = 0;

	printf("%-26s %4s %8s  %-18s %9s %10s\n", "process", "", "pid", "user", "up", "memory");
	for (size_t i = 0; i < s->n_roles; i++) {
		const struct status_role *r = &s->roles[i];
		char many[16] = "";

		if (r->n > 1)
			(void)snprintf(many, sizeof(many), "x%u", r->n);
		printf("%-26s %4s %8d  %-18s %9s %7.1f MB\n", r->name, many, (int)r->pid, r->user, span(r->up_s, up), (double)r->bytes / 1048576);
		bytes += r->bytes;
	}
	printf("%-26s x%-3zu %8s  %-18s %9s %7.1f MB\n\n", "all", s->processes, "", "", s->up_s ? span(s->up_s, up) : "-", (double)bytes / 1048576);
}

static void print_state(const struct status *s)
{
	if (s->queue_up)
		printf("queue        %llu messages, %llu being received, %llu delivery agents, %llu SMTP connections\n", (unsigned long long)s->messages,
		       (unsigned long long)s->transactions, (unsigned long long)s->agents, (unsigned long long)s->smtp_connections);
	else
		puts("queue        does not answer");
	if (s->auth_up)
		printf("logins       %llu ok (%llu from the cache), %llu failed, %llu put off; %llu accounts, %llu connections, %llu mail sessions\n",
		       (unsigned long long)s->logins_ok, (unsigned long long)s->logins_cached, (unsigned long long)s->logins_failed,
		       (unsigned long long)s->logins_refused, (unsigned long long)s->accounts, (unsigned long long)s->mail_connections,
		       (unsigned long long)s->n_sessions);
	else
		puts("logins       authd does not answer");
	for (size_t i = 0; i < s->shown_sessions; i++)
		printf("  %-8s %s, pid %llu, %llu connection%s\n", s->sessions[i].service, s->sessions[i].user, (unsigned long long)s->sessions[i].pid,
		       (unsigned long long)s->sessions[i].connections, s->sessions[i].connections == 1 ? "" : "s");
}

static void print_counters(const struct status *s, const struct status *before)
{
	const double seconds = before && s->taken_ms > before->taken_ms ? (double)(s->taken_ms - before->taken_ms) / 1000 : 0;

	if (!s->counted) {
		puts("\nnothing is counted: the log process does not run");
		return;
	}
	printf("\n%-52s %12s %12s%s\n", "events", "total", "last minute", seconds > 0 ? "     a second" : "");
	for (unsigned i = 0; i < EV_MAX_; i++) {
		printf("%-52s %12llu %12llu", event_what((enum event)i), (unsigned long long)s->total[i], (unsigned long long)s->minute[i]);
		if (seconds > 0)
			printf(" %12.1f", (double)(s->total[i] - before->total[i]) / seconds);
		putchar('\n');
	}
}

void status_print(const struct status *s, const struct status *before)
{
	print_processes(s);
	print_state(s);
	print_counters(s, before);
}

/* --- JSON: one object on one line --- */

static void json_roles(const struct status *s)
{
	json_name(stdout, "processes", true);
	putchar('[');
	for (size_t i = 0; i < s->n_roles; i++) {
		const struct status_role *r = &s->roles[i];

		fputs(i ? ", {" : "{", stdout);
		json_field(stdout, "role", str_c(r->name), true);
		json_field(stdout, "user", str_c(r->user), false);
		json_number(stdout, "pid", r->pid, false);
		json_number(stdout, "count", r->n, false);
		json_number(stdout, "up_seconds", (long long)r->up_s, false);
		json_number(stdout, "memory_bytes", (long long)r->bytes, false);
		putchar('}');
	}
	putchar(']');
}

static void json_queue(const struct status *s)
{
	json_name(stdout, "queue", false);
	putchar('{');
	json_bool(stdout, "up", s->queue_up, true);
	json_number(stdout, "messages", (long long)s->messages, false);
	json_number(stdout, "receiving", (long long)s->transactions, false);
	json_number(stdout, "agents", (long long)s->agents, false);
	json_number(stdout, "smtp_connections", (long long)s->smtp_connections, false);
	putchar('}');
}

static void json_logins(const struct status *s)
{
	json_name(stdout, "logins", false);
	putchar('{');
	json_bool(stdout, "up", s->auth_up, true);
	json_number(stdout, "accounts", (long long)s->accounts, false);
	json_number(stdout, "ok", (long long)s->logins_ok, false);
	json_number(stdout, "failed", (long long)s->logins_failed, false);
	json_number(stdout, "connections", (long long)s->mail_connections, false);
	json_number(stdout, "sessions", (long long)s->n_sessions, false);
	json_name(stdout, "users", false);
	putchar('[');
	for (size_t i = 0; i < s->shown_sessions; i++) {
		fputs(i ? ", {" : "{", stdout);
		json_field(stdout, "user", str_c(s->sessions[i].user), true);
		json_field(stdout, "service", str_c(s->sessions[i].service), false);
		json_number(stdout, "pid", (long long)s->sessions[i].pid, false);
		json_number(stdout, "connections", (long long)s->sessions[i].connections, false);
		putchar('}');
	}
	fputs("]}", stdout);
}

static void json_counters(const struct status *s)
{
	json_name(stdout, "events", false);
	putchar('{');
	for (unsigned i = 0; s->counted && i < EV_MAX_; i++) {
		json_name(stdout, event_name((enum event)i), i == 0);
		printf("{\"total\": %llu, \"last_minute\": %llu}", (unsigned long long)s->total[i], (unsigned long long)s->minute[i]);
	}
	putchar('}');
	if (s->counted)
		json_number(stdout, "counting_since", s->counting_since, false);
}

void status_print_json(const struct status *s)
{
	putchar('{');
	json_roles(s);
	json_number(stdout, "up_seconds", (long long)s->up_s, false);
	json_queue(s);
	json_logins(s);
	json_counters(s);
	puts("}");
}
