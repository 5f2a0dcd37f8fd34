/* A day's reports: asked for permission, packed, posted to the suite's own submission socket. What was sent is written down at once, so that a second run sends the
 * rest only. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admin/dmarc/dmarc.h"
#include "admin/sendmail/sendmail.h"
#include "base/clock.h"
#include "base/enc.h"
#include "dns/client.h"
#include "io/gzip.h"
#include "mail/report.h"
#include "os/os.h"

enum { DONE_BYTES_MAX = 32 << 20, XML_MAX = 64 << 20 };

/* --- may we? --- */

struct question {
	struct loop *loop;
	int yes;	/* 1 yes, 0 no, -1 nobody answers */
};

static void on_answer(void *ctx, const struct dns_answer *a)
{
	struct question *q = ctx;
	q->yes = a->result == DNS_TROUBLE ? -1 : 0;
	for (size_t i = 0; a->result == DNS_HAS && i < a->n; i++)
		if (str_starts(a->v[i], STR("v=DMARC1")))
			q->yes = 1;
	loop_stop(q->loop);
}

static int ask(const struct sender *s, struct str name)
{
	struct question q = { loop_new(), -1 };
	struct err e = { 0 };
	char path[1100];
	snprintf(path, sizeof(path), "%s/dns/sock", s->conf->run_directory);
	const int fd = sock_unix_connect(path, SOCK_SEQPACKET, &e);
	if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		fprintf(stderr, "postern-dmarc: %s\n", e.text);
		return -1;
	}
	struct dns_client *c = dns_client_new(q.loop, fd, NULL, NULL);
	(void)dns_ask(c, name, DNS_TXT, on_answer, &q);
	loop_run(q.loop);
	dns_client_free(&c);
	return q.yes;
}

/* --- one report --- */

struct packed {
	struct arena *a;
	const struct domain_rows *w;
	struct str domain, organisation, from, id, file_name;
	int64_t begin;
	struct buf xml, gz;
};

static const char *id_of(struct arena *a, const struct day *d, const struct domain_rows *w)
{
	/* The same rows have the same id: who gets a report twice after a crash can tell. */
	uint64_t h = 1469598103934665603u;
	for (const char *p = w->key; *p; p++)
		h = (h ^ (unsigned char)*p) * 1099511628211u;
	return arena_printf(a, "%s.%016llx", d->name, (unsigned long long)h);
}

static int pack(const struct sender *s, const struct day *d, const struct domain_rows *w, struct packed *p, struct err *e)
{
	const struct conf *c = s->conf;
	const int64_t end = d->begin + 86399;
	p->w = w;
	p->begin = d->begin;
	p->domain = w->rows[0].a.v[AGG_DOMAIN];
	p->organisation = str_c(c->dmarc_report_organisation[0] ? c->dmarc_report_organisation : c->mydomain);
	p->from = str_c(c->dmarc_report_sender[0] ? c->dmarc_report_sender : arena_printf(p->a, "postmaster@%s", c->myorigin));
	p->id = str_c(id_of(p->a, d, w));
	/* RFC 7489 7.2.1.1 */
	p->file_name = str_c(arena_printf(p->a, "%s!%.*s!%lld!%lld!%.*s.xml.gz", c->mydomain, STR_ARG(p->domain), (long long)p->begin, (long long)end, STR_ARG(p->id)));
	const struct aggregate_report r = { p->organisation, p->from, p->id, p->domain, p->begin, end, w->rows, w->n };
	buf_init(&p->xml, XML_MAX);
	buf_init(&p->gz, REPORT_BYTES_MAX);
	aggregate_xml(&r, &p->xml);
	return buf_check(&p->xml, "report", e) < 0 ? -1 : gzip_pack(&p->gz, buf_view(&p->xml), e);
}

static int post_one(const struct sender *s, struct packed *p, struct str to)
{
	struct err e = { 0 };
	struct post m = { .conf = s->conf, .a = p->a, .sender = p->from, .dot_is_text = true, .rcpts = &to, .n_rcpts = 1, .eight_bit = true };
	const struct report_mail r = {
		.from = p->from, .to = to, .now = clock_wall(),
		.message_id = str_c(arena_printf(p->a, "<%.*s.%016llx@%s>", STR_ARG(p->id), (unsigned long long)random_u64(), s->conf->myhostname)),
		.subject = str_c(arena_printf(p->a, "Report Domain: %.*s Submitter: %s Report-ID: <%.*s>", STR_ARG(p->domain), s->conf->mydomain, STR_ARG(p->id))),
		.text = str_c(arena_printf(p->a, "What became of mail from %.*s that came to %s: an aggregate report (DMARC, RFC 7489) of one day.\n", STR_ARG(p->domain),
					   s->conf->mydomain)),
		.file_type = STR("application/gzip"), .file_name = p->file_name, .file = buf_view(&p->gz),
	};
	buf_init(&m.message, 2 * REPORT_BYTES_MAX);
	int status = report_mail_format(&r, &m.message, &e) < 0 ? 1 : 0;
	if (status)
		fprintf(stderr, "postern-dmarc: %.*s: %s\n", STR_ARG(to), e.text);
	else
		status = post_send(&m);
	buf_fini(&m.message);
	return status;
}

/* 0: sent, or there is no need; 1: later. */
static int send_to(const struct sender *s, struct packed *p, struct str to, uint64_t max)
{
	const struct str name = aggregate_permission(p->a, s->psl, p->domain, to);
	const int yes = name.n == 0 ? 1 : ask(s, name);
	if (yes <= 0) {
		printf("%.*s: not to %.*s: %s\n", STR_ARG(p->domain), STR_ARG(to), yes < 0 ? "nobody answers whether it wants them" : "it does not say that it wants them");
		return yes < 0;
	}
	if (max > 0 && p->gz.n * 4 / 3 > max) {
		printf("%.*s: not to %.*s: larger than it takes\n", STR_ARG(p->domain), STR_ARG(to));
		return 0;
	}
	printf("%.*s: %s%.*s, %zu rows\n", STR_ARG(p->domain), s->dry ? "would go to " : "to ", STR_ARG(to), p->w->n);
	return s->dry ? 0 : post_one(s, p, to) != 0;
}

static int send_report(const struct sender *s, const struct day *d, const struct domain_rows *w)
{
	struct packed p = { .a = arena_new(0) };
	struct str list = w->rows[0].a.v[AGG_RUA], to;
	uint64_t max;
	struct err e = { 0 };
	int later = 0;
	if (pack(s, d, w, &p, &e) < 0) {
		fprintf(stderr, "postern-dmarc: %.*s: %s: not sent\n", STR_ARG(p.domain), e.text);
	} else {
		if (s->print)
			fwrite(p.xml.p, 1, p.xml.n, stdout);
		for (int n = 0; n < REPORT_ADDRESSES_MAX && aggregate_rua_next(&list, p.a, &to, &max); n++)
			later |= send_to(s, &p, to, max);
	}
	buf_fini(&p.xml);
	buf_fini(&p.gz);
	arena_free(&p.a);
	return later;
}

/* --- all of a day --- */

static struct map *read_done(const char *path, struct buf *text)
{
	struct map *done = map_new();
	struct err e = { 0 };
	buf_init(text, DONE_BYTES_MAX);
	if (access(path, F_OK) == 0 && file_read(path, DONE_BYTES_MAX, text, &e) < 0)
		fprintf(stderr, "postern-dmarc: %s\n", e.text);
	struct str rest = buf_view(text);
	while (rest.p != NULL)
		(void)map_set(done, str_split(&rest, '\n'), done);
	return done;
}

static void note_done(const char *path, const char *id)
{
	struct err e = { 0 };
	const int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write_all(fd, id, strlen(id), &e) < 0 || write_all(fd, "\n", 1, &e) < 0 || fsync(fd) < 0)
		fprintf(stderr, "postern-dmarc: %s cannot be written\n", path);
	if (fd >= 0)
		close(fd);
}

size_t day_send(const struct sender *s, const struct day *d, const char *done_path)
{
	struct buf text;
	struct map *done = read_done(done_path, &text);
	size_t later = 0;
	for (size_t i = 0; i < d->n; i++) {
		const char *id = id_of(d->a, d, &d->v[i]);
		if (map_get(done, str_c(id)) != NULL)
			continue;
		if (send_report(s, d, &d->v[i]) != 0)
			later++;
		else if (!s->dry)
			note_done(done_path, id);
	}
	map_free(&done);
	buf_fini(&text);
	return later;
}
