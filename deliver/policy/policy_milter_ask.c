/* What a milter is told at each step, and whether it is to answer: one table. */
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "deliver/policy/policy_milter.h"
#include "os/os.h"

enum { BODY_READ = MILTER_CHUNK / 2, MACROS_BYTES_MAX = 65536, PARAMS_MAX = 16 };

static const struct step {
	char command;
	uint32_t no, silent;		/* MP_NO_*, MP_NR_* */
	int macros;			/* enum milter_stage, -1 */
} steps[] = {
	[TELL_OPTIONS] = { 'O', 0, 0, -1 },
	[TELL_CONNECT] = { 'C', MP_NO_CONNECT, MP_NR_CONN, MILTER_CONNECT },
	[TELL_HELO] = { 'H', MP_NO_HELO, MP_NR_HELO, MILTER_HELO },
	[TELL_MAIL] = { 'M', MP_NO_MAIL, MP_NR_MAIL, MILTER_MAIL },
	[TELL_RCPT] = { 'R', MP_NO_RCPT, MP_NR_RCPT, MILTER_RCPT },
	[TELL_DATA] = { 'T', MP_NO_DATA, MP_NR_DATA, MILTER_DATA },
	[TELL_HEADER] = { 'L', MP_NO_HDRS, MP_NR_HDR, -1 },
	[TELL_EOH] = { 'N', MP_NO_EOH, MP_NR_EOH, MILTER_EOH },
	[TELL_BODY] = { 'B', MP_NO_BODY, MP_NR_BODY, -1 },
	[TELL_EOM] = { 'E', 0, 0, MILTER_EOM },
};

bool milter_answers(const struct milter *m)
{
	return (m->options.protocol & steps[m->step].silent) == 0;
}

/* --- macros --- */

static bool macro_in(struct ipc_strs names, struct ipc_strs values, struct str name, struct str *value)
{
	for (size_t i = 0; i < names.n && i < values.n; i++)
		if (str_eq(names.v[i], name)) {
			*value = values.v[i];
			return true;
		}
	return false;
}

static bool macro_find(const struct talk *t, struct str name, struct str *value)
{
	return (t->rcpt && macro_in(t->rcpt->names, t->rcpt->values, name, value)) || macro_in(t->begin->names, t->begin->values, name, value);
}

/* The stage's macros that are known; none: nothing is sent. Names of more than one letter are in braces. */
static void put_macros(struct buf *out, const struct milter *m, enum milter_stage stage, char command)
{
	const struct talk *t = m->talk;
	struct str list = m->options.macros[stage].p ? m->options.macros[stage] : (size_t)stage < t->begin->lists.n ? t->begin->lists.v[stage] : STR(""), name, value;
	struct buf b;
	bool any = false;

	buf_init(&b, MACROS_BYTES_MAX);
	buf_ch(&b, command);
	while (str_token(&list, " \t\r\n,", &name)) {
		if (name.n > 2 && name.p[0] == '{' && name.p[name.n - 1] == '}')
			name = str_sub(name, 1, name.n - 2);
		if (!macro_find(t, name, &value))
			continue;
		any = true;
		buf_printf(&b, name.n > 1 ? "{%.*s}" : "%.*s", STR_ARG(name));
		buf_ch(&b, '\0');
		for (size_t i = 0; i < value.n; i++)
			buf_ch(&b, value.p[i] ? value.p[i] : '?');
		buf_ch(&b, '\0');
	}
	if (any && !buf_failed(&b))
		milter_put(out, 'D', buf_view(&b));
	buf_fini(&b);
}

/* --- commands --- */

static void put_connect(struct buf *out, const struct milter *m)
{
	const struct ipc_policy_BEGIN *x = m->talk->begin;
	const bool v6 = str_chr(x->client, ':') >= 0;
	struct buf b;

	buf_init(&b, 4096);
	buf_str(&b, x->client_name);
	buf_ch(&b, '\0');
	if (x->client.n == 0) {
		buf_ch(&b, 'U');
	} else {
		char port[2];
		put_be16(port, (uint16_t)x->client_port);
		buf_ch(&b, v6 ? '6' : '4');
		buf_mem(&b, port, sizeof(port));
		buf_str(&b, x->client);
		buf_ch(&b, '\0');
	}
	milter_put(out, 'C', buf_view(&b));
	buf_fini(&b);
}

static void put_address(struct buf *out, char command, struct str address, struct ipc_strs params)
{
	char path[1100];
	struct str v[1 + PARAMS_MAX];
	const size_t n = params.n < PARAMS_MAX ? params.n : PARAMS_MAX;

	snprintf(path, sizeof(path), "<%.*s>", STR_ARG(address));
	v[0] = str_c(path);
	if (n > 0)
		memcpy(v + 1, params.v, n * sizeof(*v));
	milter_put_strings(out, command, v, n + 1);
}

/* The next field that milters are shown, from at; n: none. */
static size_t next_field(const struct mail_view *w, size_t at)
{
	while (at < w->n && (w->v[at].own || w->v[at].name.n == 0))
		at++;
	return at;
}

static void put_field(struct buf *out, struct milter *m, bool *more)
{
	const struct mail_view *w = &m->talk->view;
	const struct mail_view_field *f = &w->v[m->at];
	struct str value = f->value;

	if (!(m->options.protocol & MP_LEADSPC) && value.n > 0 && value.p[0] == ' ')
		value = str_from(value, 1);
	const struct str v[] = { f->name, value };
	milter_put_strings(out, 'L', v, 2);
	m->at = next_field(w, m->at + 1);
	*more = m->at < w->n;
}

/* Lines end in CRLF. */
static int put_body(struct buf *out, struct milter *m, bool *more, struct err *e)
{
	const struct talk *t = m->talk;
	char raw[BODY_READ], text[2 * BODY_READ];
	const size_t n = (size_t)(t->size - m->off < BODY_READ ? t->size - m->off : BODY_READ);
	size_t k = 0;

	if (pread_all(t->fd, raw, n, m->off, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (raw[i] == '\n')
			text[k++] = '\r';
		text[k++] = raw[i];
	}
	m->off += n;
	*more = m->off < t->size;
	milter_put(out, 'B', str_n(text, k));
	return 0;
}

static int put_command(struct buf *out, struct milter *m, bool *more, struct err *e)
{
	const struct talk *t = m->talk;

	switch (m->step) {
	case TELL_OPTIONS: milter_put_options(out, m->set.protocol); break;
	case TELL_CONNECT: put_connect(out, m); break;
	case TELL_HELO: milter_put_strings(out, 'H', &t->begin->helo, 1); break;
	case TELL_MAIL: put_address(out, 'M', t->begin->sender, t->begin->params); break;
	case TELL_RCPT: put_address(out, 'R', t->rcpt->recipient, (struct ipc_strs){ 0 }); break;
	case TELL_HEADER: put_field(out, m, more); break;
	case TELL_BODY: return put_body(out, m, more, e);
	default: milter_put(out, steps[m->step].command, STR("")); break;
	}
	return 0;
}

/* Is there anything to say? */
static bool empty_step(struct milter *m)
{
	const struct talk *t = m->talk;

	if (m->step == TELL_HEADER)
		m->at = next_field(&t->view, m->at);
	return (m->step == TELL_HEADER && m->at >= t->view.n) || (m->step == TELL_BODY && m->off >= t->size) || (m->step == TELL_HELO && t->begin->helo.n == 0) ||
	       (m->step == TELL_DATA && m->options.version < 4);
}

int milter_send(struct milter *m, bool *more, struct err *e)
{
	const struct step *s = &steps[m->step];
	struct buf b;

	*more = false;
	if ((m->options.protocol & s->no) || empty_step(m))
		return 1;
	buf_init(&b, 1 << 20);
	if (s->macros >= 0)
		put_macros(&b, m, (enum milter_stage)s->macros, s->command);
	int r = put_command(&b, m, more, e);
	if (r == 0)
		r = buf_check(&b, "packet", e);
	if (r == 0)
		conn_write(m->conn, buf_view(&b));
	buf_fini(&b);
	return r;
}
