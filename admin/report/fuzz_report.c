/* Any bytes as a log: sums stay within what there are lines, and no name of a stranger's becomes markup. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "admin/report/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = str_n(data, size), line;
	struct report r;
	char *page = NULL;
	size_t n = 0;

	report_init(&r, 1764288000, 1764288000 + 3 * 86400);
	r.host = "mail.example.com";
	while (str_token(&rest, "\n", &line))
		report_line(&r, line);
	for (size_t i = 0; i < EV_MAX_; i++)
		assert(r.total[i] <= r.lines);
	FILE *f = open_memstream(&page, &n);
	if (f) {
		report_html(&r, f);
		(void)fflush(f);
		assert(memmem(page, n, "<script", 7) == NULL);
		report_json(&r, f);
		report_text(&r, f);
		fclose(f);
		free(page);
	}
	report_fini(&r);
	return 0;
}
