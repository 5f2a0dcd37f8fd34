/* postern-report: options, which files, where to. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "admin/report/report.h"
#include "admin/sendmail/notice.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/num.h"
#include "os/os.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 64, EXIT_TEMP = 75, EXIT_CONF = 78, ROTATED_MAX = 60, FILES_MAX = 100, HTML_MAX = 16 << 20 };
enum { O_SINCE = 256, O_HTML, O_JSON, O_MAIL, O_NO_MAILBOXES, O_NO_SANDBOX };

struct options {
	const char *conf_file, *html, *mail, *since;
	bool json, mailboxes, unconfined;
	char **files;
	int n_files;
};

static int usage(FILE *to, int status)
{
	fputs("usage: postern-report [-c FILE] [--since WHEN] [--html FILE | --json] [--mail ADDRESS] [--no-mailboxes] [LOG ...]\n"
	      "What went through: messages, volume, what was refused and why, spam and viruses, who sends and receives most, logins, queue, mailboxes.\n"
	      "  --since WHEN    24h 7d 4w today yesterday 2026-11-28 (default: 7d)\n"
	      "  --html FILE     one page with charts, - for standard output\n"
	      "  --mail ADDRESS  as a mail, with the page attached\n"
	      "  --no-sandbox    no confinement (development only)\n"
	      "LOG: files, plain or gzip, - for standard input; default: maillog_file, else /var/log/mail.log, and those rotated from it.\n",
	      to);
	return status;
}

static int options_get(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "since", required_argument, NULL, O_SINCE }, { "html", required_argument, NULL, O_HTML }, { "json", no_argument, NULL, O_JSON },
		{ "mail", required_argument, NULL, O_MAIL }, { "no-mailboxes", no_argument, NULL, O_NO_MAILBOXES }, { "no-sandbox", no_argument, NULL, O_NO_SANDBOX },
		{ "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 },
	};

	*o = (struct options){ .conf_file = conf_default_file(), .since = "7d", .mailboxes = true };
	for (int c; (c = getopt_long(argc, argv, "c:hV", longs, NULL)) != -1;) {
		switch (c) {
		case 'c': o->conf_file = optarg; break;
		case O_SINCE: o->since = optarg; break;
		case O_HTML: o->html = optarg; break;
		case O_JSON: o->json = true; break;
		case O_MAIL: o->mail = optarg; break;
		case O_NO_MAILBOXES: o->mailboxes = false; break;
		case O_NO_SANDBOX: o->unconfined = true; break;
		case 'h': return usage(stdout, 0);
		case 'V': printf("postern-report (Postern) %s\n", POSTERN_VERSION); return 0;
		default: return usage(stderr, EXIT_USAGE);
		}
	}
	if ((o->html != NULL) + o->json + (o->mail != NULL) > 1 || argc - optind > FILES_MAX)
		return usage(stderr, EXIT_USAGE);
	o->files = argv + optind;
	o->n_files = argc - optind;
	return -1;
}

/* --- which files --- */

/* The log and what logrotate made of it, oldest first; those that were written last before the time are left out. */
static int read_default(struct report *r, const struct conf *c, struct err *e)
{
	const char *log = c->maillog_file[0] ? c->maillog_file : "/var/log/mail.log";
	char path[4200];

	for (int i = ROTATED_MAX; i > 0; i--) {
		struct err one = { 0 };
		(void)snprintf(path, sizeof(path), "%s.%d", log, i);
		if (access(path, F_OK) < 0)
			(void)snprintf(path, sizeof(path), "%s.%d.gz", log, i);
		if (access(path, F_OK) == 0 && report_file(r, path, &one) < 0)
			fprintf(stderr, "postern-report: %s\n", one.text);
	}
	return report_file(r, log, e);
}

static int read_logs(struct report *r, const struct options *o, const struct conf *c, struct err *e)
{
	if (o->n_files == 0)
		return read_default(r, c, e);
	for (int i = 0; i < o->n_files; i++)
		if (report_file(r, o->files[i], e) < 0)
			return -1;
	return 0;
}

/* --- where to --- */

static int write_html(const struct report *r, const char *path, struct err *e)
{
	char *text = NULL;
	size_t n = 0;

	if (strcmp(path, "-") == 0) {
		report_html(r, stdout);
		return 0;
	}
	FILE *f = open_memstream(&text, &n);

	if (!f)
		return err_set(e, ERR_TEMP, errno, "memory");
	report_html(r, f);
	fclose(f);
	/* It names people: not for all. */
	const int rc = file_replace(path, str_n(text, n), 0640, (uid_t)-1, (gid_t)-1, e);

	free(text);
	return rc;
}

static void put_base64(FILE *to, struct str s)
{
	struct buf b;

	buf_init(&b, HTML_MAX * 2);
	base64_encode(&b, s);
	for (size_t i = 0; i < b.n; i += 76)
		fprintf(to, "%.*s\n", (int)(b.n - i < 76 ? b.n - i : 76), b.p + i);
	buf_fini(&b);
}

static void put_mail(const struct report *r, const char *address, FILE *to)
{
	char mark[40], *page = NULL;
	size_t n = 0;

	(void)snprintf(mark, sizeof(mark), "%016llx", (unsigned long long)random_u64());
	fprintf(to, "To: %s\nSubject: Mail report of %s\nMIME-Version: 1.0\nAuto-Submitted: auto-generated\nContent-Type: multipart/mixed; boundary=\"%s\"\n\n"
		    "--%s\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n", address, r->host, mark, mark);
	report_text(r, to);
	fprintf(to, "\n--%s\nContent-Type: text/html; charset=utf-8\nContent-Disposition: attachment; filename=\"mail-report.html\"\nContent-Transfer-Encoding: base64\n\n", mark);
	FILE *f = open_memstream(&page, &n);

	if (f) {
		report_html(r, f);
		fclose(f);
		put_base64(to, str_n(page, n));
		free(page);
	}
	fprintf(to, "\n--%s--\n", mark);
}

static int send_mail(const struct report *r, const struct options *o, const struct conf *c, struct err *e)
{
	struct notice n;

	if (notice_open(&n, c, o->mail, e) < 0)
		return -1;
	put_mail(r, o->mail, n.to);
	return notice_close(&n, e) < 0 ? err_wrap(e, "to %s", o->mail) : 0;
}

static int write_out(const struct report *r, const struct options *o, const struct conf *c, struct err *e)
{
	if (o->mail)
		return send_mail(r, o, c, e);
	if (o->html)
		return write_html(r, o->html, e);
	if (o->json)
		report_json(r, stdout);
	else
		report_text(r, stdout);
	return 0;
}

int main(int argc, char **argv)
{
	struct options o;
	struct report r;
	struct conf *conf;
	struct err e = { 0 };
	int64_t since;

	proc_init(argc, argv);
	tzset();
	const int status = options_get(argc, argv, &o);
	if (status >= 0)
		return status;
	const int64_t now = clock_wall();
	if (report_since(str_c(o.since), now, &since) < 0 || now - since > (int64_t)REPORT_HOURS_MAX * 3600) {
		fprintf(stderr, "postern-report: --since %s: 24h 7d 4w today yesterday or 2026-11-28 is wanted, at most 400 days\n", o.since);
		return EXIT_USAGE;
	}
	if (conf_load_told("postern-report", o.conf_file, false, &conf) < 0)
		return EXIT_CONF;
	report_init(&r, since, now + 1);
	r.host = conf->myhostname;
	int rc = read_logs(&r, &o, conf, &e);
	if (rc == 0) {
		report_queue(&r, conf);
		if (o.mailboxes)
			report_mailboxes(&r, conf, o.unconfined);
		rc = write_out(&r, &o, conf, &e);
	}
	if (rc < 0)
		fprintf(stderr, "postern-report: %s\n", e.text);
	report_fini(&r);
	conf_free(&conf);
	return rc < 0 ? EXIT_TEMP : 0;
}
