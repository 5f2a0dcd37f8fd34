/* No bytes break the access list of a folder; what is taken is within the limits and reads the same when it is written again. */
#include <stdint.h>
#include <stdlib.h>

#include "store/acl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(1 << 24);
	struct acl_entry *list, *again;
	struct buf b;
	size_t n = 0;

	buf_init(&b, 1 << 20);
	if (acl_parse(a, str_n(data, size), &list, NULL) == 0) {
		acl_format(&b, list);
		if (buf_failed(&b) || acl_parse(a, buf_view(&b), &again, NULL) < 0)
			abort();
		for (; list; list = list->next, again = again->next, n++) {
			if (!again || !str_eq(list->id, again->id) || list->rights != again->rights || list->negative != again->negative)
				abort();
			if (list->rights == 0 || list->rights & ~(uint32_t)ACL_ALL || list->id.n > ACL_ID_MAX)
				abort();
		}
		if (again || n > ACL_ENTRIES_MAX)
			abort();
	}
	buf_fini(&b);
	arena_free(&a);
	return 0;
}
