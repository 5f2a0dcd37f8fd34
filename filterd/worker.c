/* The worker: one message at a time, from a descriptor to a verdict. It has no network and writes only below its temporary directory. A deadline is
 * the kernel's: SIGALRM ends the process, and the monitor counts it as a failed attempt. */
#include "worker.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/enc.h"
#include "asker.h"
#include "base/clock.h"
#include "clamav.h"
#include "findings.h"
#include "ipc/filter.h"
#include "log/log.h"
#include "mail/head.h"
#include "os/os.h"
#include "outcome.h"
#include "sign.h"
#include "spam/taught.h"

static void deadline(uint64_t seconds)
{
	struct itimerval t = { .it_value.tv_sec = (time_t)seconds };
	setitimer(ITIMER_REAL, &t, NULL);
}

static struct str neutral(struct arena *a, const char *text, size_t max)
{
	struct buf b;
	buf_init(&b, max + 8);
	text_neutral(&b, str_c(text == NULL ? "" : text), max, true);
	struct str s = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return s;
}

static struct str message_id(struct scan *s)
{
	struct mail_field f;
	if (s->root == NULL || !mail_field_find(s->root->head, "Message-ID", &f))
		return STR("");
	return neutral(s->a, arena_cstr(s->a, mail_unfold(s->a, f.value)), 250);
}

/* What is not of the message as a whole. */
static struct ipc_filter_VERDICT outcome_of(struct scan *s, const struct verdict *v)
{
	const char *facts = v->detail == NULL ? v->category : arena_printf(s->a, "%s (%s)", v->category, v->detail);
	return (struct ipc_filter_VERDICT){
		.action = str_c(verdict_action_names[v->action]),
		.code = (uint64_t)v->code,
		.enhanced = str_c(v->enhanced),
		.text = neutral(s->a, v->text, 390),
		.edits = { (struct str *)(uintptr_t)v->edits, v->n_edits },
		.log = neutral(s->a, facts, 390),
		.hits = str_c(v->hits),
		.folder = str_c(v->folder),
		.target = str_c(v->target),
		.notify = str_c(v->notify),
		.message_id = message_id(s),
		.tests = str_c(v->tests),
		.required = str_c(v->required),
		.whose = v->whose,
	};
}

static void send_verdict(int sock, uint32_t id, const struct ipc_filter_VERDICT *m)
{
	struct err e = { 0 };
	if (ipc_send_fd(sock, &ipc_filter, IPC_filter_VERDICT, m, id, -1, &e) < 0) {
		log_warning("worker: %s", e.text);
		_exit(1);
	}
}

static void answer(int sock, uint32_t id, struct scan *s)
{
	const size_t n = s->n_outcomes > 0 ? s->n_outcomes : 1;
	for (size_t i = 0; i < n; i++) {
		struct ipc_filter_VERDICT m = outcome_of(s, s->n_outcomes > 0 ? &s->outcomes[i] : &s->verdict);
		m.more = i + 1 < n;
		if (!m.more) {
			m.report = s->explain_ctx == NULL ? STR("") : buf_view(s->explain_ctx);
			m.dmarc = str_c(s->dmarc);
			m.learn = s->verdict.learn;
			if (s->verdict.action == VERDICT_SCORE)
				m.found = findings_put(s);
		}
		send_verdict(sock, id, &m);
	}
}

enum { REPORT_MAX = 8000, FINDING_MAX = 500 };

/* A line of the report; what does not fit is left out. */
static void on_finding(void *ctx, const char *stage, const char *finding)
{
	struct buf *b = ctx;
	if (b->n + FINDING_MAX + 40 > REPORT_MAX)
		return;
	buf_printf(b, "%-9s ", stage);
	text_neutral(b, str_c(finding), FINDING_MAX, false);
	buf_ch(b, '\n');
}

/* Nothing is checked, and nothing is to be done with it. */
static void teach(struct scan *s)
{
	s->verdict = scan_accepts;
	spam_teach(s->rules->spam, s->a, s->message, (enum bayes_class)(s->facts->teach - 1), &s->verdict.learn);
}

/* What was rejected is not signed, nor what is not the same for all: who asked does so again for each of it. */
static void check_and_sign(struct scan *s, struct asker *ask)
{
	const struct sign_hand hand = { asker_sign, ask };
	struct err e = { 0 };
	if (s->facts->sign & SIGN_ONLY)
		s->verdict = scan_accepts;
	else
		scan_run(s);
	if (s->verdict.action != VERDICT_ACCEPT || s->n_outcomes > 1 || sign_message(s, &hand, &e) == 0)
		return;
	s->verdict = (struct verdict){ .action = VERDICT_TEMPFAIL, .code = 451, .enhanced = "4.7.5", .text = "The message could not be signed now, try again later",
		.category = "UNCHECKED", .notify = "", .detail = arena_printf(s->a, "sign: %s", e.text) };
	log_error("%.*s: the message cannot be signed: %s", STR_ARG(s->facts->qid), e.text);
}

static void serve(const struct filter_rules *rules, struct asker *ask, uint32_t id, const struct ipc_filter_SCAN *facts, int fd, struct arena *a)
{
	struct stat st;
	const struct auth_dns dns = { asker_ask, ask };
	struct scan s = { .a = a, .rules = rules, .message = STR(""), .facts = facts, .dns = &dns, .ask_lists = asker_ask_lists };
	struct buf report;
	buf_init(&report, REPORT_MAX);
	if (facts->want) {
		s.explain = on_finding;
		s.explain_ctx = &report;
		buf_str(&report, str_sub(facts->report, 0, REPORT_MAX - 1));
	}
	void *map = NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
		map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (map == MAP_FAILED)
			map = NULL;
		else
			s.message = str_n(map, (size_t)st.st_size);
	}
	if (map == NULL && (st.st_size != 0 || !S_ISREG(st.st_mode))) {
		s.verdict = (struct verdict){ .action = VERDICT_TEMPFAIL, .code = 451, .enhanced = "4.3.0",
			.text = "The message could not be read", .category = "UNCHECKED", .detail = "no regular file, or it cannot be mapped" };
	} else {
		deadline(rules->conf->filter_timeout);
		ask->lists_ms = rules->conf->spam_dns_time * 1000;
		ask->lists_until_ms = 0;
		ask->until_ms = clock_mono_ms() + rules->conf->sender_authentication_time * 1000;
		if (facts->teach && facts->teach <= BAYES_HAM + 1 && rules->spam != NULL)
			teach(&s);
		else
			check_and_sign(&s, ask);
		deadline(0);
	}
	answer(ask->sock, id, &s);
	buf_fini(&report);
	if (map != NULL)
		munmap(map, (size_t)st.st_size);
}

static void count_lists(const struct filter_rules *rules, int sock, uint32_t id, const struct ipc_filter_LISTS *q, struct arena *a)
{
	const struct ipc_filter_SCAN facts = { .recipients = q->recipients, .before = q->before, .user = q->user, .own = q->own };
	struct scan s = { .a = a, .rules = rules, .message = STR(""), .facts = &facts };
	struct err e = { 0 };
	outcome_groups(&s);
	const struct ipc_filter_COUNT m = { .lists = stage_banned_lists(&s) };
	if (ipc_send_fd(sock, &ipc_filter, IPC_filter_COUNT, &m, id, -1, &e) < 0) {
		log_warning("worker: %s", e.text);
		_exit(1);
	}
}

/* While messages follow each other, the memory of one serves the next. */
static int next_work(int sock, struct arena *a, uint16_t *type_out, uint32_t *id_out, void **msg_out, int *fd_out, struct err *e)
{
	arena_reset(a);
	if (ipc_recv_fd(sock, &ipc_filter, WORKER_IDLE_MS, a, type_out, id_out, msg_out, fd_out, e) == 0)
		return 0;
	if (e->code != ERR_TEMP || e->sys != 0)
		return -1;
	err_clear(e);
	proc_give_memory();
	return ipc_recv_fd(sock, &ipc_filter, -1, a, type_out, id_out, msg_out, fd_out, e);
}

void worker_run(const struct filter_rules *rules, int sock)
{
	struct arena *a = arena_new(0);
	struct asker ask = { .sock = sock };
	if (rules->clamav != NULL)
		proc_keep_memory(WORKER_KEEPS_BYTES);
	for (unsigned served = 0; served < WORKER_MESSAGES_MAX; served++) {
		uint16_t type;
		uint32_t id;
		void *msg;
		int fd = -1;
		struct err e = { 0 };
		if (next_work(sock, a, &type, &id, &msg, &fd, &e) < 0)
			_exit(e.code == ERR_CLOSED ? 0 : 1);
		if ((type == IPC_filter_ANSWER || type == IPC_filter_SIGNATURE) && fd < 0) {	/* to a question that was given up */
			served--;
			continue;
		}
		if (type == IPC_filter_LISTS && fd < 0) {
			count_lists(rules, sock, id, msg, a);
			continue;
		}
		if (type != IPC_filter_SCAN || fd < 0)
			_exit(1);
		serve(rules, &ask, id, msg, fd, a);
		close_fd(&fd);
	}
	struct err e = { 0 };
	if (rules->clamav != NULL && clamav_canary(rules->clamav, &e) < 0)
		log_error("worker: %s", e.text);
	_exit(0);
}
