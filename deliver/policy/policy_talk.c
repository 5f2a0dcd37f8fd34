/* One transaction with all of its milters, one after the other at each stage; each gets the header as those before it have made it. A refusal ends the stage, a failure
 * becomes what the milter's default action says. */
#include <stdlib.h>
#include <string.h>

#include "deliver/policy/policy_milter.h"
#include "os/os.h"

enum { HEAD_MAX = 1 << 24 };

/* --- life --- */

static int take_milters(struct talk *t, struct err *e)
{
	const struct ipc_policy_BEGIN *b = t->begin;
	struct milter_setting s = {
		.protocol = (uint32_t)b->protocol, .connect_ms = b->connect_s * 1000, .command_ms = b->command_s * 1000, .content_ms = b->content_s * 1000,
	};
	struct str list = b->milters, one;

	if (milter_fallback_parse(b->fallback, &s.fallback, e) < 0)
		return -1;
	if (s.protocol < MILTER_VERSION_MIN || s.protocol > MILTER_VERSION || s.protocol == 5)
		s.protocol = MILTER_VERSION;
	t->v = ARENA_ARRAY(t->arena, struct milter, MILTERS_MAX);
	while (milter_list_next(&list, &one)) {
		if (t->n == MILTERS_MAX)
			return err_set(e, ERR_LIMIT, 0, "more than %d milters", MILTERS_MAX);
		struct milter *m = &t->v[t->n++];
		*m = (struct milter){ .talk = t, .set = s, .name = arena_cstr(t->arena, one), .body = { .fd = -1 } };
		if (milter_setting_parse(one, &m->set, e) < 0)
			return -1;
	}
	return 0;
}

int talk_new(struct loop *l, struct dns_client *dns, struct milter_pool *pool, const struct ipc_policy_BEGIN *m, talk_fn *fn, void *ctx, struct talk **out, struct err *e)
{
	struct talk *t = xzalloc(sizeof(*t));

	t->loop = l;
	t->dns = dns;
	t->pool = pool;
	t->arena = arena_new(POLICY_TALK_BYTES_MAX);
	t->id = m->talk;
	t->fd = -1;
	t->fn = fn;
	t->ctx = ctx;
	t->begin = ipc_copy(&ipc_policy, IPC_policy_BEGIN, m, t->arena);
	if (t->begin && take_milters(t, e) == 0) {
		*out = t;
		return 0;
	}
	if (t->begin == NULL)
		(void)err_set(e, ERR_LIMIT, 0, "too many facts");
	talk_free(&t);
	return -1;
}

void talk_free(struct talk **tp)
{
	struct talk *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->n; i++)
		milter_close(&t->v[i]);
	close_fd(&t->fd);
	arena_free(&t->arena);
	free(t);
}

/* --- a stage --- */

static void settle(struct talk *t)
{
	t->busy = false;
	t->fn(t->ctx, t);
}

static void ask_next(struct talk *t)
{
	if (t->at == t->n)
		settle(t);
	else
		milter_start(&t->v[t->at], t->first, t->last);
}

void talk_passed(struct talk *t)
{
	t->at++;
	ask_next(t);
}

void talk_refuse(struct talk *t, int code, const char *enhanced, struct str text)
{
	t->verdict.action = TALK_REFUSE;
	t->verdict.code = code;
	memcpy(t->verdict.enhanced, enhanced, strnlen(enhanced, MILTER_ENHANCED_MAX - 1) + 1);
	t->verdict.text = arena_str(t->arena, str_sub(text, 0, POLICY_TEXT_MAX));
	settle(t);
}

void talk_discard(struct talk *t)
{
	t->verdict.action = TALK_DISCARD;
	settle(t);
}

static void start(struct talk *t, enum milter_step first, enum milter_step last)
{
	t->verdict = (struct talk_verdict){ 0 };
	t->first = first;
	t->last = last;
	t->at = 0;
	t->busy = true;
	ask_next(t);
}

void talk_begin(struct talk *t)
{
	start(t, TELL_OPTIONS, TELL_MAIL);
}

void talk_rcpt(struct talk *t, const struct ipc_policy_RCPT *m)
{
	t->rcpt = ipc_copy(&ipc_policy, IPC_policy_RCPT, m, t->arena);
	if (t->rcpt)
		start(t, TELL_RCPT, TELL_RCPT);
	else
		talk_refuse(t, 452, "4.5.3", STR("Error: too many recipients"));
}

/* --- the message --- */

static struct ipc_strs copy_edits(struct talk *t, struct ipc_strs from)
{
	struct ipc_strs to = { ARENA_ARRAY(t->arena, struct str, from.n + 1), 0 };

	for (; to.v && to.n < from.n; to.n++)
		to.v[to.n] = arena_str(t->arena, from.v[to.n]);
	return to;
}

/* The body begins behind the empty line. */
static int find_body(struct talk *t, uint64_t head, struct err *e)
{
	char end[2] = { 0 };
	const size_t n = (size_t)(t->size - head < 2 ? t->size - head : 2);

	if (n > 0 && pread_all(t->fd, end, n, head, e) < 0)
		return -1;
	t->body = head + (n == 2 && end[0] == '\r' && end[1] == '\n' ? 2 : n > 0 && end[0] == '\n' ? 1 : 0);
	return 0;
}

int talk_message(struct talk *t, const struct ipc_policy_MESSAGE *m, int fd, struct err *e)
{
	const struct ipc_strs edits = copy_edits(t, m->edits);
	char *head = m->head <= HEAD_MAX && m->head <= m->size ? arena_alloc(t->arena, (size_t)m->head + 1) : NULL;

	close_fd(&t->fd);
	t->fd = fd;
	t->size = m->size;
	t->size_max = m->size_max;
	t->replaced = false;
	t->rcpt = NULL;
	if (head == NULL || edits.n != m->edits.n)
		return err_set(e, ERR_LIMIT, 0, "header too long for milters");
	if ((m->head > 0 && pread_all(fd, head, (size_t)m->head, 0, e) < 0) || find_body(t, m->head, e) < 0 ||
	    mail_view_make(&t->view, t->arena, str_n(head, (size_t)m->head), edits.v, edits.n, e) < 0)
		return -1;
	start(t, TELL_DATA, TELL_EOM);
	return 0;
}

int talk_edits(struct talk *t, struct ipc_strs *out, struct err *e)
{
	return mail_view_edits(&t->view, &out->v, &out->n, POLICY_EDITS_MAX, e);
}
