/* A snapshot's list: one row a line, fields by tabs, the free text last; the last line says how many rows there are, so that half a list is none. */
#include "admin/backup/backup.h"

#include "base/enc.h"
#include "base/num.h"

static const char HEAD[] = "postern backup list 1\n";

void backup_list_begin(struct buf *b)
{
	buf_c(b, HEAD);
}

void backup_put_folder(struct buf *b, const struct backup_folder *f)
{
	buf_printf(b, "F\t%u\t%u\t%d\t%.*s\t", f->uidvalidity, f->uidnext, f->subscribed, STR_ARG(f->special));
	buf_str(b, f->name);
	buf_ch(b, '\n');
}

void backup_put_message(struct buf *b, const struct backup_message *m)
{
	buf_printf(b, "M\t%u\t%u\t%lld\t%llu\t%s\t", m->uid, m->flags, (long long)m->date, (unsigned long long)m->size, m->sum);
	buf_str(b, m->keywords);
	buf_ch(b, '\n');
}

void backup_put_file(struct buf *b, const struct backup_file *f)
{
	buf_printf(b, "S\t%o\t%u\t%u\t%llu\t%s\t", f->mode, f->uid, f->gid, (unsigned long long)f->size, f->sum);
	buf_str(b, f->path);
	buf_ch(b, '\n');
}

void backup_list_end(struct buf *b, uint64_t rows)
{
	buf_printf(b, "E\t%llu\n", (unsigned long long)rows);
}

int backup_list_open(struct str list, struct backup_reader *r, struct err *e)
{
	*r = (struct backup_reader){ .rest = list };
	if (!str_starts(list, str_c(HEAD)) || list.p[list.n - 1] != '\n')
		return err_set(e, ERR_INPUT, 0, "not a list of a backup, or cut short");
	r->rest = str_from(list, sizeof(HEAD) - 1);
	return 0;
}

/* --- fields --- */

static int take(struct str *line, uint64_t max, uint64_t *out)
{
	return num_parse(str_split(line, '\t'), 0, max, out);
}

static int take_sum(struct str *line, char out[SUM_HEX + 1])
{
	const struct str s = str_split(line, '\t');

	if (s.n != SUM_HEX)
		return -1;
	for (size_t i = 0; i < s.n; i++)
		if (!ch_digit(s.p[i]) && !(s.p[i] >= 'a' && s.p[i] <= 'f'))
			return -1;
	memcpy(out, s.p, SUM_HEX);
	out[SUM_HEX] = '\0';
	return 0;
}

static int take_folder(struct str line, struct backup_folder *f)
{
	uint64_t validity, next, subscribed;

	if (take(&line, UINT32_MAX, &validity) < 0 || take(&line, UINT32_MAX, &next) < 0 || take(&line, 1, &subscribed) < 0)
		return -1;
	*f = (struct backup_folder){ .uidvalidity = (uint32_t)validity, .uidnext = (uint32_t)next, .subscribed = subscribed };
	f->special = str_split(&line, '\t');
	f->name = line;
	return line.n > 0 && utf8_valid(line) ? 0 : -1;
}

static int take_message(struct str line, struct backup_message *m)
{
	uint64_t uid, flags, date;

	if (take(&line, UINT32_MAX, &uid) < 0 || uid == 0 || take(&line, 0x7f, &flags) < 0 || take(&line, INT64_MAX, &date) < 0 ||
	    take(&line, INT64_MAX, &m->size) < 0 || take_sum(&line, m->sum) < 0)
		return -1;
	m->uid = (uint32_t)uid;
	m->flags = (uint32_t)flags;
	m->date = (int64_t)date;
	m->keywords = line;
	return 0;
}

static int take_octal(struct str *line, uint32_t *out)
{
	const struct str s = str_split(line, '\t');

	*out = 0;
	if (s.n == 0 || s.n > 5)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '7')
			return -1;
		*out = *out * 8 + (uint32_t)(s.p[i] - '0');
	}
	return *out <= 07777 ? 0 : -1;
}

static int take_file(struct str line, struct backup_file *f)
{
	uint64_t uid, gid;

	if (take_octal(&line, &f->mode) < 0 || take(&line, UINT32_MAX - 1, &uid) < 0 || take(&line, UINT32_MAX - 1, &gid) < 0 ||
	    take(&line, INT64_MAX, &f->size) < 0 || take_sum(&line, f->sum) < 0)
		return -1;
	f->uid = (uint32_t)uid;
	f->gid = (uint32_t)gid;
	f->path = line;
	return line.n > 1 && line.p[0] == '/' && str_find(line, STR("/../")) < 0 && memchr(line.p, 0, line.n) == NULL ? 0 : -1;
}

int backup_list_next(struct backup_reader *r, enum backup_row *row_out, struct err *e)
{
	struct str line = str_split(&r->rest, '\n'), kind = str_split(&line, '\t');
	uint64_t rows;
	int ok = -1;

	r->rows++;
	if (str_eq(kind, STR("F"))) {
		*row_out = ROW_FOLDER;
		ok = take_folder(line, &r->folder);
	} else if (str_eq(kind, STR("M"))) {
		*row_out = ROW_MESSAGE;
		ok = take_message(line, &r->message);
	} else if (str_eq(kind, STR("S"))) {
		*row_out = ROW_FILE;
		ok = take_file(line, &r->file);
	} else if (str_eq(kind, STR("E"))) {
		*row_out = ROW_END;
		ok = num_parse(line, 0, UINT64_MAX, &rows) == 0 && rows == r->rows - 1 && r->rest.n == 0 ? 0 : -1;
	}
	return ok == 0 ? 0 : err_set(e, ERR_INPUT, 0, "row %llu of the list is damaged", (unsigned long long)r->rows);
}
