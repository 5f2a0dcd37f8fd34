/* postern-alarm: looks, compares with what was told, tells what has changed, remembers. What was told is remembered only once the mail is in the queue: an alarm that
 * cannot be sent is tried again the next time. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin/alarm/alarm.h"
#include "admin/sendmail/notice.h"
#include "base/json.h"
#include "base/num.h"
#include "os/os.h"

enum { EXIT_ALARM = 1, EXIT_USAGE = 64, EXIT_TEMP = 75, EXIT_CONF = 78, ROWS_MAX = 16, TEXT_MAX = 8000, STATE_MAX = 65536 };
static const char *const levels[] = { "ok", "warning", "urgent" };

struct found {
	enum alarm_level level, before;
	struct buf text;
};

struct run {
	struct conf *conf;
	struct arena *a;
	struct found rows[ROWS_MAX];
	const char *state;
};

static int usage(FILE *to, int status)
{
	fputs("usage: postern-alarm [-n | --dry-run] [-c FILE] [--json]\n"
	      "Look at disks, queue, logins, certificate, signatures and timers; mail what has changed since the last time to error_notice_recipient.\n"
	      "  -n  only say it\n"
	      "Exit status: 0 all is well, 1 something is not.\n",
	      to);
	return status;
}

/* "name level" a line; what is missing or not understood was well. */
static void read_state(struct run *r)
{
	struct err ignored = { 0 };
	struct str rest, line;
	struct buf b;

	buf_init(&b, STATE_MAX + 1);
	(void)!file_read(r->state, STATE_MAX, &b, &ignored);
	rest = buf_view(&b);
	while (str_token(&rest, "\n", &line)) {
		const struct str name = str_split(&line, ' ');
		for (size_t i = 0; i < n_alarm_rows; i++)
			for (size_t k = 0; k < ARRAY_LEN(levels); k++)
				if (str_eq(name, str_c(alarm_rows[i].name)) && str_eq(line, str_c(levels[k])))
					r->rows[i].before = (enum alarm_level)k;
	}
	buf_fini(&b);
}

static int write_state(const struct run *r, struct err *e)
{
	struct buf b;

	buf_init(&b, STATE_MAX);
	for (size_t i = 0; i < n_alarm_rows; i++)
		buf_printf(&b, "%s %s\n", alarm_rows[i].name, levels[r->rows[i].level]);
	const int rc = file_replace(r->state, buf_view(&b), 0600, (uid_t)-1, (gid_t)-1, e);

	buf_fini(&b);
	return rc;
}

static void print(const struct run *r, bool json)
{
	for (size_t i = 0; i < n_alarm_rows; i++) {
		const struct found *f = &r->rows[i];

		if (!json) {
			printf("%-12s %-8s %s\n", alarm_rows[i].name, levels[f->level], f->text.n ? f->text.p : "");
			continue;
		}
		putchar('{');
		json_field(stdout, "alarm", str_c(alarm_rows[i].name), true);
		json_field(stdout, "level", str_c(levels[f->level]), false);
		json_field(stdout, "before", str_c(levels[f->before]), false);
		json_field(stdout, "text", buf_view(&f->text), false);
		puts("}");
	}
}

static int tell(const struct run *r, struct err *e)
{
	enum alarm_level worst = ALARM_OK;
	struct notice n;

	for (size_t i = 0; i < n_alarm_rows; i++)
		if (r->rows[i].level != r->rows[i].before && r->rows[i].level > worst)
			worst = r->rows[i].level;
	if (notice_open(&n, r->conf, r->conf->error_notice_recipient, e) < 0)
		return -1;
	fprintf(n.to, "To: %s\nSubject: %s: %s\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n",
		r->conf->error_notice_recipient, r->conf->myhostname, worst == ALARM_URGENT ? "urgent" : worst == ALARM_WARNING ? "a warning" : "well again");
	for (size_t i = 0; i < n_alarm_rows; i++) {
		const struct found *f = &r->rows[i];

		if (f->level != f->before)
			fprintf(n.to, "%s: %s (was %s)%s%s\n", alarm_rows[i].name, levels[f->level], levels[f->before], f->text.n ? "\n    " : "", f->text.n ? f->text.p : "");
		else if (f->level)
			fprintf(n.to, "%s: still %s\n    %s\n", alarm_rows[i].name, levels[f->level], f->text.p);
	}
	fputs("\nThis is told once, and once when it is over. \"postern alarm -n\" says how it is now.\n", n.to);
	return notice_close(&n, e);
}

/* 0 well, 1 not, -1 *e. */
static int look_and_tell(struct run *r, bool dry, bool json, struct err *e)
{
	bool bad = false, changed = false;

	read_state(r);
	for (size_t i = 0; i < n_alarm_rows; i++) {
		buf_init(&r->rows[i].text, TEXT_MAX);
		r->rows[i].level = alarm_rows[i].look(r->conf, r->a, &r->rows[i].text);
		bad |= r->rows[i].level != ALARM_OK;
		changed |= r->rows[i].level != r->rows[i].before;
	}
	if (dry || json || changed)
		print(r, json);
	if (changed && !dry && (tell(r, e) < 0 || write_state(r, e) < 0))
		return -1;
	if (!dry && alarm_restarts_remember(r->conf, r->a, e) < 0)
		return -1;
	for (size_t i = 0; i < n_alarm_rows; i++)
		buf_fini(&r->rows[i].text);
	return bad;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' }, { "dry-run", no_argument, NULL, 'n' }, { "help", no_argument, NULL, 'h' },
					       { "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 } };
	const char *conf_file = conf_default_file();
	struct run r = { .a = arena_new(0) };
	bool dry = false, json = false;
	struct err e = { 0 };

	proc_init(argc, argv);
	for (int c; (c = getopt_long(argc, argv, "c:nhV", longs, NULL)) != -1;) {
		switch (c) {
		case 'c': conf_file = optarg; break;
		case 'n': dry = true; break;
		case 'j': json = true; break;
		case 'h': return usage(stdout, 0);
		case 'V': printf("postern-alarm (Postern) %s\n", POSTERN_VERSION); return 0;
		default: return usage(stderr, EXIT_USAGE);
		}
	}
	if (optind != argc)
		return usage(stderr, EXIT_USAGE);
	if (conf_load_told("postern-alarm", conf_file, false, &r.conf) < 0)
		return EXIT_CONF;
	r.state = arena_printf(r.a, "%s/alarms", r.conf->state_directory);
	const int rc = look_and_tell(&r, dry, json, &e);

	if (rc < 0)
		fprintf(stderr, "postern-alarm: %s\n", e.text);
	conf_free(&r.conf);
	arena_free(&r.a);
	return rc < 0 ? EXIT_TEMP : rc ? EXIT_ALARM : 0;
}
