/* Lines of the mail log: time, program, queue id, event, fields, the other message. */
#include <stdio.h>

#include "base/buf.h"
#include "admin/postern/logline.h"
#include "test/tap.h"

/* "program id event other | name=value …" */
static const struct {
	const char *line, *want;
} cases[] = {
	{ "Nov 28 17:06:05 vm postfix/smtpd[12]: 1M1C5YJ1Y5Y: client=unknown[127.0.0.1]", "postfix/smtpd 1M1C5YJ1Y5Y client  | client=unknown[127.0.0.1]" },
	{ "Nov  8 17:06:05 vm postern/qmgr[12]: 1M1C5YJ1Y5Y: from=<a@b>, size=36, nrcpt=6 (queue active)", "postern/qmgr 1M1C5YJ1Y5Y from  | from=a@b size=36 nrcpt=6" },
	{ "Nov  8 17:06:05 vm postern/local[12]: 1M1C5YJ1Y5Y: to=<a@b>, orig_to=<c>, relay=local, delay=0.1, delays=0/0/0/0.1, dsn=2.0.0, status=sent (forwarded as 1M1C5YJ1Y5Z)",
	  "postern/local 1M1C5YJ1Y5Y to 1M1C5YJ1Y5Z | to=a@b orig_to=c relay=local delay=0.1 delays=0/0/0/0.1 dsn=2.0.0 status=sent" },
	{ "Nov  8 17:06:05 vm postern/smtp[12]: 1M1C5YJ1Y5Y: to=<a@b>, status=sent (250 2.0.0 Ok: queued as 4V3L9J013G; to=<evil@x>)", "postern/smtp 1M1C5YJ1Y5Y to 4V3L9J013G | to=a@b status=sent" },
	{ "Nov  8 17:06:05 vm postern/bounce[12]: 1M1C5YJ1Y5Y: sender non-delivery notification: 1M1C5YJ1Y5Z\r\n", "postern/bounce 1M1C5YJ1Y5Y notification 1M1C5YJ1Y5Z |" },
	{ "Nov  8 17:06:05 vm postern/smtpd[12]: NOQUEUE: reject: RCPT from x[1.2.3.4]: 550 5.1.1 <a@b>: Recipient address rejected; from=<c@d> to=<a@b> proto=ESMTP helo=<h>",
	  "postern/smtpd - reject  | from=c@d to=a@b proto=ESMTP helo=h" },
	{ "2026-11-28T17:06:05.123456+00:00 vm postern/qmgr[1]: 1M1C5YJ1Y5Y: removed", "postern/qmgr 1M1C5YJ1Y5Y removed  |" },
	{ "Nov  8 17:06:05 vm amavis[3]: (3-1) Passed CLEAN, [1.2.3.4] <a@b> -> <c@d>, Queue-ID: 1M1C5YJ1Y5Y, Hits: 1", "amavis 1M1C5YJ1Y5Y filter  |" },
	{ "Nov  8 17:06:05 vm dovecot: imap-login: Login: user=<joe>, method=PLAIN", "dovecot - other  | user=joe method=PLAIN" },
	{ "Nov  8 17:06:05 vm postern/qmgr[1]: REMOVEDWORD: removed", "postern/qmgr - other  |" },
	{ "not a line", "!" },
	{ "", "!" },
	{ "Nov  8 17:06:05 vm", "!" },
	{ "Nov  8 17:06:05 vm noident", "!" },
};

int main(void)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct logline l;
		struct buf got;

		buf_init(&got, 4096);
		if (logline_parse(str_c(cases[i].line), &l) < 0) {
			buf_c(&got, "!");
		} else {
			buf_printf(&got, "%.*s %.*s %s %.*s |", STR_ARG(l.program), STR_ARG(l.id.n ? l.id : STR("-")), l.event, STR_ARG(logline_other(&l)));
			for (size_t k = 0; k < l.n_fields; k++)
				buf_printf(&got, " %.*s=%.*s", STR_ARG(l.fields[k].name), STR_ARG(l.fields[k].value));
		}
		(void)tap_is_str(got.p, cases[i].want, "line %zu", i);
		buf_fini(&got);
	}
	return tap_done();
}
