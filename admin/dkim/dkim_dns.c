/* Key records: printed for a zone file, and compared with what the name servers say. The answer comes from the suite's dns process and is only compared with what we
 * expect. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "admin/dkim/dkim.h"
#include "dns/client.h"
#include "os/os.h"

enum { STRING_MAX_ = 250 };	/* bytes of one string of a TXT record (RFC 1035 3.3: 255) */

const char *const record_words[] = { "published", "missing", "another key", "unknown" };

static const char *record_text(struct arena *a, const struct dkim_row *row, struct str p)
{
	return arena_printf(a, "v=DKIM1; k=%s; p=%.*s", sig_kind_name(row->kind), STR_ARG(p));
}

void record_print(const struct dkim_row *row, struct str p)
{
	struct arena *a = arena_new(0);
	struct str text = str_c(record_text(a, row, p));
	printf("%.*s._domainkey.%.*s. IN TXT (", STR_ARG(row->selector), STR_ARG(row->domain));
	for (; text.n > 0; text = str_from(text, STRING_MAX_)) {
		const struct str piece = str_sub(text, 0, STRING_MAX_);
		printf(" \"%.*s\"", STR_ARG(piece));
	}
	puts(" )");
	arena_free(&a);
}

struct question {
	struct loop *loop;
	struct str p;
	enum record_state state;
	char why[200];
};

/* The value of p= without blanks is the key? */
static bool holds(struct str record, struct str p)
{
	while (record.p != NULL) {
		struct str tag = str_split(&record, ';');
		const struct str name = str_trim(str_split(&tag, '='));
		size_t n = 0;
		bool same = str_eq(name, STR("p"));
		for (size_t i = 0; same && i < tag.n; i++)
			if (!ch_space(tag.p[i]))
				same = n < p.n && tag.p[i] == p.p[n++];
		if (same && n == p.n)
			return true;
	}
	return false;
}

static void on_answer(void *ctx, const struct dns_answer *a)
{
	struct question *q = ctx;
	q->state = a->result == DNS_TROUBLE ? RECORD_UNKNOWN : a->n == 0 || a->result != DNS_HAS ? RECORD_MISSING : RECORD_OTHER;
	for (size_t i = 0; a->result == DNS_HAS && i < a->n; i++)
		if (holds(a->v[i], q->p))
			q->state = RECORD_GOOD;
	snprintf(q->why, sizeof(q->why), "%.*s", STR_ARG(a->why));
	loop_stop(q->loop);
}

enum record_state record_check(const struct conf *conf, struct arena *a, const struct dkim_row *row, struct str p, const char **why)
{
	struct question q = { .loop = loop_new(), .p = p };
	struct err e = { 0 };
	const int fd = sock_unix_connect(arena_printf(a, "%s/dns/sock", conf->run_directory), SOCK_SEQPACKET, &e);
	if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		*why = arena_strdup(a, e.text);
		return RECORD_UNKNOWN;
	}
	struct dns_client *c = dns_client_new(q.loop, fd, NULL, NULL);
	const char *name = arena_printf(a, "%.*s._domainkey.%.*s", STR_ARG(row->selector), STR_ARG(row->domain));
	(void)dns_ask(c, str_c(name), DNS_TXT, on_answer, &q);
	loop_run(q.loop);
	dns_client_free(&c);
	*why = arena_strdup(a, q.why);
	return q.state;
}
