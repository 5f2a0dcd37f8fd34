/* What an import says: a bar while it works (on a terminal), a table or JSON lines at the end. */
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "admin/import/import.h"

enum { BAR_WIDTH = 30, SHOW_EVERY_MS = 100 };

void import_progress(struct import *im, uint64_t at, uint64_t total, const char *what)
{
	char bar[BAR_WIDTH + 1];
	const uint64_t now = clock_mono_ms();

	if (!im->tty || (now - im->shown_ms < SHOW_EVERY_MS && at < total))
		return;
	im->shown_ms = now;
	const unsigned full = total > 0 ? (unsigned)((long double)at * BAR_WIDTH / (long double)total) : BAR_WIDTH;
	for (unsigned i = 0; i < BAR_WIDTH; i++)
		bar[i] = i < full ? '#' : '.';
	bar[BAR_WIDTH] = '\0';
	(void)fprintf(stderr, "\r[%s] %3u%%  %-40.40s\033[K", bar, total > 0 ? (unsigned)((long double)at * 100 / (long double)total) : 100, what);
}

static void row_json(const struct import *im, const struct import_row *r)
{
	putchar('{');
	json_field(stdout, "user", str_c(im->acct->name), true);
	json_field(stdout, "folder", str_c(r->folder), false);
	json_field(stdout, "source", str_c(r->source), false);
	json_number(stdout, "found", (long long)r->found, false);
	json_number(stdout, "imported", (long long)r->imported, false);
	json_number(stdout, "known", (long long)r->known, false);
	json_number(stdout, "skipped", (long long)r->skipped, false);
	json_number(stdout, "failed", (long long)r->failed, false);
	json_number(stdout, "bytes", (long long)r->bytes, false);
	json_number(stdout, "verified", (long long)r->verified, false);
	if (r->note[0])
		json_field(stdout, "note", str_c(r->note), false);
	json_bool(stdout, "dry_run", im->o->dry_run, false);
	(void)puts("}");
}

static void row_text(const struct import_row *r)
{
	printf("%-30s %9llu %9llu %9llu %8llu %7llu %14llu  %s%s%s\n", r->folder, (unsigned long long)r->found, (unsigned long long)r->imported,
	       (unsigned long long)r->known, (unsigned long long)r->skipped, (unsigned long long)r->failed, (unsigned long long)r->bytes, r->source,
	       r->note[0] ? ": " : "", r->note);
}

static void add(struct import_row *sum, const struct import_row *r)
{
	sum->found += r->found;
	sum->imported += r->imported;
	sum->known += r->known;
	sum->skipped += r->skipped;
	sum->failed += r->failed;
	sum->bytes += r->bytes;
	sum->verified += r->verified;
}

int import_report(struct import *im)
{
	struct import_row sum = { .folder = "total" };

	if (im->tty)
		(void)fputs("\r\033[K", stderr);
	if (!im->o->json && !im->o->quiet)
		printf("%-30s %9s %9s %9s %8s %7s %14s  %s\n", im->acct->name, "found", im->o->dry_run ? "would be" : "imported", "known", "skipped", "failed",
		       "bytes", "source");
	for (const struct import_row *r = im->rows; r; r = r->next) {
		add(&sum, r);
		if (im->o->json)
			row_json(im, r);
		else if (!im->o->quiet)
			row_text(r);
	}
	if (!im->o->json && !im->o->quiet) {
		(void)snprintf(sum.source, sizeof sum.source, "%llu read again and compared", (unsigned long long)sum.verified);
		row_text(&sum);
	}
	return sum.failed > 0 ? 1 : 0;
}

void import_skipped(struct import *im, const char *path, const char *why)
{
	struct import_row *const row = ARENA_NEW(im->a, struct import_row);

	(void)snprintf(row->folder, sizeof row->folder, "-");
	(void)snprintf(row->source, sizeof row->source, "%s", path);
	(void)snprintf(row->note, sizeof row->note, "%s", why);
	row->skipped = 1;
	*im->tail = row;
	im->tail = &row->next;
}
