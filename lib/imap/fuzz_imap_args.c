/* No input breaks the scanner and the lexer. */
#include <stdint.h>
#include <stdlib.h>

#include "imap/lex.h"
#include "imap/notify.h"
#include "imap/scan.h"
#include "imap/sort.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(1 << 24);
	struct imap_scan s;
	struct imap_lex l = { .p = (const char *)data, .end = (const char *)data + size, .arena = a };
	size_t used, at = 0;
	struct str v, *list;
	size_t n;
	struct imap_flags flags;
	int64_t when;

	imap_scan_init(&s, 1000);
	while (at < size) {
		const enum imap_scan_result r = imap_scan(&s, str_n(data + at, size - at), &used);

		at += used;
		if (r == IMAP_SCAN_LITERAL && (data[0] & 1))
			imap_scan_accept(&s);
		else if (r == IMAP_SCAN_DONE || (r == IMAP_SCAN_LITERAL && imap_scan_refuse(&s)))
			imap_scan_init(&s, 1000);
	}
	(void)!imap_get_tag(&l, &v, NULL);
	(void)!imap_get_verb(&l, &v, NULL);
	while (!imap_at_end(&l) && imap_get_sp(&l, NULL) == 0) {
		struct imap_sort_criterion by[IMAP_SORT_KEYS_MAX];
		struct imap_search_return ret;
		struct imap_notify notify;
		struct imap_lex try = l;

		(void)!imap_get_flags(&try, true, &flags, NULL);
		try = l;
		(void)!imap_get_date_time(&try, &when, NULL);
		try = l;
		(void)!imap_get_date(&try, &when, NULL);
		try = l;
		(void)!imap_get_notify(&try, &notify, NULL);
		try = l;
		(void)!imap_get_search_return(&try, &ret, NULL);
		try = l;
		(void)!imap_get_sort(&try, by, &n, NULL);
		try = l;
		(void)!imap_get_list_mailbox(&try, &v, NULL);
		if (imap_at(&l, (char)40) ? imap_get_astring_list(&l, true, &list, &n, NULL) < 0 : imap_get_astring(&l, &v, NULL) < 0)
			break;
	}
	arena_free(&a);
	return 0;
}
