/* Eval functions over the header: senders that are not who they say, recipients, subjects, message ids (SpamAssassin's HeaderEval). */
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"
#include "spam/eval.h"
#include "spam/patterns.h"

struct msg_evals *evals(struct msg *m)
{
	if (m->evals == NULL)
		m->evals = ARENA_NEW(m->a, struct msg_evals);
	return m->evals;
}

struct str arg(const struct rule *r, size_t i)
{
	return i < r->n_args ? r->args[i] : STR("");
}

double arg_number(const struct rule *r, size_t i, double missing)
{
	char text[40];
	struct str v = arg(r, i);
	if (v.n == 0 || v.n >= sizeof(text) || (!ch_digit(v.p[0]) && v.p[0] != '-' && v.p[0] != '.' && v.p[0] != '+'))
		return missing;
	memcpy(text, v.p, v.n);
	text[v.n] = '\0';
	return strtod(text, NULL);
}

int eval_never(struct msg *m, const struct rule *r)
{
	(void)m;
	(void)r;
	return 0;
}

/* Something else found it out. */
int eval_fact(struct msg *m, const struct rule *r)
{
	for (size_t i = 0; i < m->facts->n_hits; i++)
		if (str_eq(m->facts->hits[i], r->name))
			return 1;
	return 0;
}

int eval_dkim_signed(struct msg *m, const struct rule *r)
{
	return eval_fact(m, r) || msg_has(m, "DKIM-Signature") || msg_has(m, "DomainKey-Signature");
}

static struct str received(struct msg *m)
{
	return str_squeeze(m->a, msg_get(m, "Received"));
}

int eval_fake_aol(struct msg *m, const struct rule *r)
{
	(void)r;
	struct str rcvd = received(m);
	return pat(PAT_AOL_RELAY, rcvd) && !pat(PAT_AOL_REAL, rcvd);
}

/* Characters that a header may not hold, as a share and as a number. */
int eval_illegal_chars(struct msg *m, const struct rule *r)
{
	char spec[100];
	struct str name = arg(r, 0);
	snprintf(spec, sizeof(spec), "%.*s%s", STR_ARG(name), fold_ends(name, ":raw") ? "" : ":raw");
	struct str v = msg_get(m, spec);
	size_t illegal = 0, exempt = 0, controls = 0;
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		bool control = c < 32 && c != 9 && c != 10 && c != 13;
		controls += control;
		illegal += control || c >= 0x7f;
		exempt += c == 0xa2 || c == 0xa3 || c == 0xae;
	}
	if (sp_trim(v).n == 0 || (illegal > controls && controls == 0 && str_eq(charset_to_utf8(m->a, v, STR("utf-8"), false), v)))
		return 0;
	if (illegal > 0 && exempt == 1 && str_case_eq(str_c(spec), STR("subject:raw")))
		illegal--;
	return (double)illegal / (double)v.n >= arg_number(r, 1, 0) && (double)illegal >= arg_number(r, 2, 0);
}

int eval_gated(struct msg *m, const struct rule *r)
{
	(void)r;
	struct str rcvd = msg_get(m, "Received");
	if (pat(PAT_EZMLM, msg_get(m, "Mailing-List")) && pat(PAT_EZMLM_TO, msg_get(m, "Delivered-To")) && pat(PAT_EZMLM_RCVD, rcvd))
		return 1;
	return !msg_has(m, "Received") || pat(PAT_MSN_GROUPS_RCVD, rcvd);
}

int eval_msn_groups(struct msg *m, const struct rule *r)
{
	(void)r;
	struct str to[2], from[2], id = msg_get(m, "Message-Id");
	if (!pat_groups(PAT_MSN_LIST_TO, msg_get(m, "To"), to, 2) || !pat_groups(PAT_MSN_LIST_RCVD, msg_get(m, "Received"), from, 2))
		return 0;
	if (str_eq(to[1], STR("notifications")))
		return str_find(id, str_cat(m->a, STR("@"), str_cat(m->a, from[1], STR(">")))) > 1;
	struct str bounce = str_cat(m->a, to[1], STR("-bounce@groups.msn.com"));
	return str_starts(id, str_cat(m->a, STR("<"), str_cat(m->a, to[1], STR("-")))) && str_find(id, STR("@groups.msn.com>")) > 0 &&
	       str_find(msg_get(m, "EnvelopeFrom:addr"), bounce) >= 0;
}

static void hotmail(struct msg *m)
{
	struct msg_evals *v = evals(m);
	if (v->hotmail_made)
		return;
	v->hotmail_made = true;
	struct str rcvd = received(m);
	bool ip = pat(PAT_ANY_IP, msg_get(m, "X-Originating-Ip")), org = pat(PAT_HOTMAIL_ORIGIN, msg_get(m, "X-OriginatorOrg"));
	if (pat(PAT_HOTMAIL_PICKUP, rcvd) || eval_msn_groups(m, NULL) || eval_gated(m, NULL))
		return;
	if ((ip && pat(PAT_HOTMAIL_OWN, rcvd)) || (org && pat(PAT_OUTLOOK_OWN, rcvd)))
		return;
	if (pat(PAT_HOTMAIL_NAMED, rcvd))
		v->hotmail.forged = true;
	else
		v->hotmail.missing = pat(PAT_HOTMAIL_FROM, msg_get(m, "From:addr"));
}

int eval_forged_hotmail(struct msg *m, const struct rule *r)
{
	(void)r;
	hotmail(m);
	return evals(m)->hotmail.forged;
}

int eval_no_hotmail(struct msg *m, const struct rule *r)
{
	(void)r;
	hotmail(m);
	return evals(m)->hotmail.missing;
}

int eval_forged_eudora(struct msg *m, const struct rule *r)
{
	(void)r;
	return pat(PAT_EUDORA_FROM, msg_get(m, "From:addr")) && !eval_gated(m, r) &&
	       !(pat(PAT_EUDORA_RCVD, received(m)) && pat(PAT_ANY_IP, msg_get(m, "X-Sender-Ip")));
}

int eval_forged_yahoo(struct msg *m, const struct rule *r)
{
	struct str from = msg_get(m, "From:addr"), rcvd = msg_get(m, "Received"), x = msg_get(m, "X-Received");
	if (!pat(PAT_YAHOO_FROM, from))
		return 0;
	if (msg_get(m, "Resent-From").n > 0 && msg_get(m, "Resent-To").n > 0 && x.n > 0)
		rcvd = x;
	rcvd = str_squeeze(m->a, rcvd);
	msg_relays(m);
	if (eval_gated(m, r) || pat(PAT_YAHOO_TRUSTED, m->relay_texts.v[0]) || pat(PAT_YAHOO_UNTRUSTED, m->relay_texts.v[1]))
		return 0;
	return !pat(PAT_YAHOO_OWN, rcvd) && !(pat(PAT_YAHOO_BULK, rcvd) && pat(PAT_YAHOO_REPLY, from));
}

int eval_forged_juno(struct msg *m, const struct rule *r)
{
	struct str orig = msg_get(m, "X-Originating-Ip"), mailer = msg_get(m, "X-Mailer"), rcvd = msg_get(m, "Received");
	if (!pat(PAT_JUNO_FROM, msg_get(m, "From:addr")) || eval_gated(m, r))
		return 0;
	if (orig.n > 0)
		return !pat(PAT_JUNO_RCVD, rcvd) || str_find(mailer, STR("Juno ")) < 0;
	return 1;	/* both other ways end without an address of the sender */
}

int eval_forged_gmail(struct msg *m, const struct rule *r)
{
	(void)r;
	if (!pat(PAT_GMAIL_FROM, msg_get(m, "From:addr")))
		return 0;
	return !pat(PAT_GMAIL_X_RECEIVED, msg_get(m, "X-Received")) && !pat(PAT_GMAIL_RECEIVED, msg_get(m, "Received")) &&
	       !(msg_get(m, "X-Gm-Message-State").n >= 60 && msg_get(m, "X-Google-Smtp-Source").n >= 60);
}

int eval_env_is_from(struct msg *m, const struct rule *r)
{
	(void)r;
	return str_case_eq(msg_get(m, "EnvelopeFrom:addr"), msg_get(m, "From:addr"));
}

/* --- recipients --- */

enum { RCPTS_SORTED = 7, RCPTS_SIMILAR = 5, RCPTS_LOOKED = 256 };

static struct str host_part(struct str address)
{
	ptrdiff_t at = str_chr(address, '@');
	return at < 0 ? STR("") : str_from(address, (size_t)at + 1);
}

static double similarity(const struct str *v, size_t n)
{
	double hits = 0, pairs = 0;
	for (size_t i = 0; i < n; i++) {
		for (size_t k = i + 1; k < n; k++, pairs++) {
			struct str a = host_part(v[i]), b = host_part(v[k]);
			hits += str_eq(str_sub(v[i], 0, 2), str_sub(v[k], 0, 2));
			hits += str_eq(str_sub(a, 0, 2), str_sub(b, 0, 2)) && !str_eq(a, b);
		}
	}
	return hits / pairs;
}

static void recipients(struct msg *m)
{
	struct msg_evals *e = evals(m);
	if (e->rcpts_made)
		return;
	e->rcpts_made = true;
	const char *const specs[] = { "ToCc:addr", "Bcc:addr" };
	struct str v[RCPTS_LOOKED];
	size_t n = 0, seen = 0;
	for (size_t s = 0; s < 2 && seen < RCPTS_SIMILAR; s++) {
		const struct strs *list = msg_get_all(m, specs[s]);
		seen += list->n;
		for (size_t i = 0; i < list->n && n < RCPTS_LOOKED; i++)
			if (n == 0 ? list->v[i].n > 0 : !str_case_eq(list->v[i], v[n - 1]))
				v[n++] = list->v[i];
	}
	e->rcpts.sorted = n >= RCPTS_SORTED;
	for (size_t i = 1; i < n && e->rcpts.sorted; i++)
		e->rcpts.sorted = str_cmp(v[i - 1], v[i]) <= 0;
	if (n >= RCPTS_SIMILAR)
		e->rcpts.similar = similarity(v, n);
}

int eval_sorted_rcpts(struct msg *m, const struct rule *r)
{
	(void)r;
	recipients(m);
	return evals(m)->rcpts.sorted;
}

int eval_similar_rcpts(struct msg *m, const struct rule *r)
{
	recipients(m);
	double v = evals(m)->rcpts.similar;
	return v >= arg_number(r, 0, -1) && v < arg_number(r, 1, 1e9);
}

int eval_missing_to(struct msg *m, const struct rule *r)
{
	(void)r;
	return msg_get(m, "To").n == 0 && msg_get(m, "Apparently-To").n == 0;
}

/* --- subject --- */

int eval_all_caps(struct msg *m, const struct rule *r)
{
	(void)r;
	struct str s = sp_trim(msg_get(m, "Subject")), g[1];
	if (pat_groups(PAT_REPLY_MARKS, s, g, 1))
		s = str_from(s, g[0].n);
	bool blank = false, lower = false, upper = false;
	for (size_t i = 0; i < s.n; i++) {
		blank |= sp_char(s.p[i]);
		lower |= ch_lower_p(s.p[i]);
		upper |= ch_upper(s.p[i]);
	}
	return blank && s.n >= 10 && upper && !lower && !pat(PAT_CAPS_CHARSET, msg_get(m, "Subject:raw"));
}

static bool is_word(char c)
{
	return ch_alnum(c) || c == '_';
}

static bool bounded_find(struct str text, struct str word)
{
	for (size_t i = 0; word.n > 0 && i + word.n <= text.n; i++) {
		if (!str_case_starts(str_from(text, i), word))
			continue;
		size_t end = i + word.n;
		bool left = is_word(word.p[0]) != (i > 0 && is_word(text.p[i - 1]));
		bool right = is_word(word.p[word.n - 1]) != (end < text.n && is_word(text.p[end]));
		if (left && right)
			return true;
	}
	return false;
}

/* "name", "name, …", "re: [word] name" as the whole subject. */
static bool user_subject(struct str subject, struct str user)
{
	struct str s = subject;
	if (s.n > 0 && s.p[s.n - 1] == '\n')
		s.n--;
	if (str_case_eq(s, user))
		return true;
	if (str_starts(subject, user)) {
		struct str rest = str_from(subject, user.n);
		while (rest.n > 0 && sp_char(rest.p[0]))
			rest = str_from(rest, 1);
		if (rest.n > 0 && strchr(",:;!?-", rest.p[0]) != NULL && (rest.n == 1 || sp_char(rest.p[1])))
			return true;
	}
	if (str_case_starts(s, STR("re:")) || str_case_starts(s, STR("fw:"))) {
		struct str rest = sp_trim(str_from(s, 3));
		if (str_case_eq(rest, user))
			return true;
		size_t n = 0;
		while (n < rest.n && is_word(rest.p[n]))
			n++;
		if (n > 0 && n < rest.n && sp_char(rest.p[n]) && str_case_eq(sp_trim(str_from(rest, n)), user))
			return true;
	}
	if (s.n > 1 && s.p[0] == ',') {
		struct str rest = sp_trim(str_from(s, 1));
		return rest.n == user.n + 1 && str_case_starts(rest, user) && strchr(",:;!?-", rest.p[user.n]) != NULL;
	}
	return false;
}

int eval_to_in_subject(struct msg *m, const struct rule *r)
{
	struct str to = msg_get(m, "To:addr"), subject = msg_get(m, "Subject");
	if (to.n == 0)
		return 0;
	if (str_eq(arg(r, 0), STR("address")))
		return bounded_find(subject, to);
	ptrdiff_t at = str_chr(to, '@');
	return str_eq(arg(r, 0), STR("user")) && user_subject(subject, at < 0 ? to : str_sub(to, 0, (size_t)at));
}

/* --- ids and names --- */

int eval_id_not_usable(struct msg *m, const struct rule *r)
{
	struct str list = sp_trim(msg_get(m, "List-Unsubscribe"));
	return pat(PAT_LEAVE_ADDRESS, list) || eval_gated(m, r) || pat(PAT_ID_GATEWAYS, msg_get(m, "Received"));
}

int eval_header_count(struct msg *m, const struct rule *r)
{
	struct strs seen = { 0 };
	for (size_t i = 0; i < m->fields.n; i++) {
		if (!str_case_eq(m->fields.v[i].name, arg(r, 0)))
			continue;
		struct str v = field_value(m->a, &m->fields.v[i]);
		if (!strs_has(&seen, v))
			strs_add(m->a, &seen, v);
	}
	return (double)seen.n >= arg_number(r, 1, 0) && (double)seen.n <= arg_number(r, 2, 1e9);
}

int eval_template(struct msg *m, const struct rule *r)
{
	(void)r;
	for (struct str all = msg_get(m, "ALL"); all.n > 0;) {
		struct str line = str_split(&all, '\n');
		if (pat(PAT_TEMPLATE, line) && !pat(PAT_TEMPLATE_FIELDS, line))
			return 1;
	}
	return 0;
}

int eval_ratware_id(struct msg *m, const struct rule *r)
{
	(void)r;
	struct str g[2], from = msg_get(m, "From");
	if (!pat_groups(PAT_RATWARE_ID, msg_get(m, "MESSAGEID"), g, 2))
		return 0;
	ptrdiff_t at = str_find(from, str_cat(m->a, STR("<"), str_cat(m->a, g[1], STR(">"))));
	struct str before = at < 0 ? STR("") : sp_trim(str_sub(from, 0, (size_t)at));
	return before.n > 2 && before.p[before.n - 1] == '"' && str_chr(before, '"') < (ptrdiff_t)before.n - 2;
}

int eval_ratware_env(struct msg *m, const struct rule *r)
{
	(void)r;
	struct str to = msg_get(m, "To:addr"), from = msg_get(m, "EnvelopeFrom:addr");
	ptrdiff_t at = str_chr(to, '@');
	if (from.n == 0 || at <= 0 || pat(PAT_SRS, from))
		return 0;
	struct str domain = domain_trim(m->s, m->a, str_from(to, (size_t)at + 1));
	if (!domain_ok(m->s, domain))
		return 0;
	/* the domain, any byte, the user, '@' */
	for (size_t i = 0; i + domain.n + 2 + (size_t)at <= from.n; i++) {
		struct str s = str_from(from, i);
		bool bound = i == 0 || !is_word(from.p[i - 1]);
		if (bound && str_case_starts(s, domain) && str_case_starts(str_from(s, domain.n + 1), str_sub(to, 0, (size_t)at)) &&
		    s.n > domain.n + 1 + (size_t)at && s.p[domain.n + 1 + (size_t)at] == '@')
			return 1;
	}
	return 0;
}

static struct str last_two_labels(struct str address)
{
	ptrdiff_t at = str_rchr(address, '@');
	struct str d = at < 0 ? STR("") : str_from(address, (size_t)at + 1);
	ptrdiff_t dot = str_rchr(d, '.');
	ptrdiff_t before = dot <= 0 ? -1 : str_rchr(str_sub(d, 0, (size_t)dot), '.');
	return before > 0 ? str_from(d, (size_t)before + 1) : d;
}

int eval_from_domains(struct msg *m, const struct rule *r)
{
	(void)r;
	struct str from = last_two_labels(msg_get(m, "From:addr")), env = last_two_labels(msg_get(m, "EnvelopeFrom:addr"));
	return from.n > 0 && env.n > 0 && !str_case_eq(from, env);
}
