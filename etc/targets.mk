# Targets that look at the sources: lint and its parts, what is generated from the tables; and what takes the suite to its places.

LINT_C := -std=gnu17 -D_GNU_SOURCE -I. -Ilib -Wall -Wextra -Werror -Wno-unused-parameter -DPOSTERN_VERSION='""' -DPOSTERN_SYSCONFDIR='""' \
	-DPOSTERN_LIBEXECDIR='""' -DPOSTERN_PREFIX='""'

lint: check-layers check-headers check-banned check-tables check-format check-manuals check-readmes check-tested
check-layers check-format check-readmes:
	$(Q)etc/lint/$@
check-tested:
	$(Q)t/$@
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

# "make install" builds and installs the release build unless BUILD says otherwise (see the top of Makefile).
install: all
	$(Q)B='$(B)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' LIBEXECDIR='$(LIBEXECDIR)' SYSCONFDIR='$(SYSCONFDIR)' PROGRAMS='$(PROGRAMS)' etc/install $@

uninstall:
	$(Q)B='$(B)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' LIBEXECDIR='$(LIBEXECDIR)' SYSCONFDIR='$(SYSCONFDIR)' PROGRAMS='$(PROGRAMS)' etc/install $@

users:
	$(Q)etc/users

# What git has committed, nothing else.
dist:
	$(Q)mkdir -p build
	$(Q)git archive --format=tar.gz --prefix=postern-$(VERSION)/ -o build/postern-$(VERSION).tar.gz HEAD
	$(Q)echo build/postern-$(VERSION).tar.gz

.PHONY: install uninstall users dist
.PHONY: lint check-layers check-headers check-banned check-tables check-format check-manuals check-readmes check-tested docs
