# Targets that look at the sources: lint and its parts, and what is generated from the tables.

LINT_C := -std=gnu17 -D_GNU_SOURCE -I. -Ilib -Wall -Wextra -Werror -Wno-unused-parameter -DPOSTERN_VERSION='""' -DPOSTERN_SYSCONFDIR='""' \
	-DPOSTERN_LIBEXECDIR='""' -DPOSTERN_PREFIX='""'

lint: check-layers check-headers check-banned check-tables check-format check-manuals
check-layers check-format:
	$(Q)etc/lint/$@
check-headers:
	$(Q)CC=$(CC) etc/lint/$@ $(LINT_C)
check-banned: all
	$(Q)etc/lint/$@ $(B)
check-tables: $(B)/postern
	$(Q)etc/lint/$@ $(B)
check-manuals:
	$(Q)etc/lint/$@ $(PROGRAMS)

# The sample and the parameter section of postern.conf(5) come from lib/conf/params.def.
docs: $(B)/postern
	$(Q)etc/lint/generate $(B)

.PHONY: lint check-layers check-headers check-banned check-tables check-format check-manuals docs
