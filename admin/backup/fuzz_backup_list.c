/* Any bytes as a snapshot's list: what is taken in is printed and read again, the same. */
#include <assert.h>
#include <stdint.h>

#include "admin/backup/backup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(struct buf *b, enum backup_row row, const struct backup_reader *r)
{
	if (row == ROW_FOLDER)
		backup_put_folder(b, &r->folder);
	else if (row == ROW_MESSAGE)
		backup_put_message(b, &r->message);
	else if (row == ROW_FILE)
		backup_put_file(b, &r->file);
	else
		backup_list_end(b, r->rows - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum backup_row row = ROW_FOLDER, again;
	struct backup_reader r, second;
	struct err e = { 0 };

	if (backup_list_open(str_n(data, size), &r, &e) < 0)
		return 0;
	while (row != ROW_END && backup_list_next(&r, &row, &e) == 0) {
		struct buf b;
		buf_init(&b, 1 << 20);
		backup_list_begin(&b);
		put(&b, row, &r);
		if (row != ROW_END && !buf_failed(&b)) {
			assert(backup_list_open(buf_view(&b), &second, &e) == 0);
			assert(backup_list_next(&second, &again, &e) == 0 && again == row);
			assert(row != ROW_MESSAGE || (second.message.uid == r.message.uid && str_eq(second.message.keywords, r.message.keywords)));
			assert(row != ROW_FOLDER || str_eq(second.folder.name, r.folder.name));
		}
		buf_fini(&b);
	}
	return 0;
}
